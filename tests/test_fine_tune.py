"""Fine-tuning changes what it should, decodes each photo once, and replaces the probe only when it is better."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pandas as pd
import pytest
import tiny

from smallset.backbones import registry
from smallset.datasets.dataset import Dataset
from smallset.images import batches, decoding
from smallset.models.classifier import Classifier
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError
from smallset.training import fine_tune, fitting

P = params.FineTuning(**tiny.TRAINING | {"trainable": "all", "minutes": None, "optimizer": "adam"})
COMPARE = fine_tune.compare

Tune = Callable[..., fine_tune.FineTuned]


@pytest.fixture
def photos(drawn: Dataset) -> Dataset:
    return tiny.assign(drawn)


@pytest.fixture
def probe(photos: Dataset) -> Classifier:
    return tiny.probe_classifier(photos)


@pytest.fixture
def tune(probe: Classifier, photos: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Fine-tune the tiny probe, whose last block follows the layer block1, and select the result or the probe."""
    predictions = probe.predict_dataset(photos)

    def tuned(selected: bool = True, known: bool = True, **changes: Any) -> fine_tune.FineTuned:
        def compare(*arguments: Any) -> pd.DataFrame:
            return COMPARE(*arguments).assign(selected=[not selected, selected])

        monkeypatch.setattr(registry, "last_frozen_layer", lambda _: "block1")
        monkeypatch.setattr(fine_tune, "compare", compare)
        checkpoint = Checkpoint(tmp_path / "models/.part.npz", repr((changes, fine_tune.MAX_WEIGHTS)))
        p, run = P.model_copy(update=changes), fitting.Run(0, checkpoint, tmp_path / "history.csv")
        return fine_tune.fine_tune(probe, photos, p, tiny.AUGMENTATION, run, predictions if known else None)

    return tuned


def changed_layers(before: keras.Model, after: keras.Model) -> set[str]:
    """The layers, also of inner models, that have other weights."""
    names = [weight.path.split("/")[-2] for weight in before.weights]
    pairs = zip(names, before.get_weights(), after.get_weights(), strict=True)
    return {name for name, one, other in pairs if not np.array_equal(one, other)} - {before.layers[-1].layers[-1].name}


@pytest.mark.parametrize(
    ("trainable", "changed"),
    [("all", {"block1", "block2"}), ("last_block", {"block2"}), ("norm", {"block2"}), ("block2", set())],
)
def test_only_the_layers_after_the_frozen_ones_learn_and_normalization_never_does(
    tune: Tune, probe: Classifier, trainable: str, changed: set[str]
) -> None:
    copy = keras.models.clone_model(probe.network)
    copy.set_weights(probe.network.get_weights())
    tuned = tune(trainable=trainable)
    assert changed_layers(probe.network, tuned.classifier.network) == changed
    assert tuned.search["trainable"].tolist() == ["frozen", trainable]
    assert tuned.search["epochs"].tolist() == tuned.search["passes"].tolist() == [0, 2]
    assert not tuned.search["out_of_time"].any()
    tiny.assert_same_weights(probe.network, copy)


def test_auto_trains_all_layers_of_a_small_backbone_with_a_probe_that_errs(
    tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    for weights, error_rate, expected in ((10_000, -1, "all"), (10, -1, "last_block"), (10_000, 1, "last_block")):
        monkeypatch.setattr(fine_tune, "MAX_WEIGHTS", weights)
        monkeypatch.setattr(fine_tune, "MIN_ERROR_RATE", error_rate)
        assert tune(trainable="auto", epochs=1).search["trainable"][1] == expected
    with pytest.raises(SmallsetError, match="the name of a layer of the tiny, found 'blok1'. Did you mean 'block1'"):
        tune(trainable="blok1")


def test_the_result_is_a_classifier_with_its_own_reference_scores_from_photos_that_are_decoded_once(
    tune: Tune, photos: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = mock.Mock(wraps=decoding.decode)
    monkeypatch.setattr(decoding, "decode", decode)
    tuned = tune(calibrate=True)
    assert sorted(call.args[0] for call in decode.mock_calls) == sorted(map(str, photos.paths))
    tuned.classifier.save(tmp_path / "tuned.keras")
    predictions = Classifier.load(tmp_path / "tuned.keras").predict_dataset(photos)
    np.testing.assert_allclose(tuned.predictions.probabilities, predictions.probabilities, atol=1e-2)
    np.testing.assert_allclose(tuned.predictions.ood_scores, predictions.ood_scores, atol=5e-2)
    reference = tuned.classifier.reference
    assert reference is not None
    _, _, ood_scores = tuned.predictions.of("validation")
    np.testing.assert_allclose(reference.ood_scores, np.sort(ood_scores))
    assert sorted(reference.nonconformity_labels) == photos.validation.labels.tolist()
    assert tuned.classifier.temperature != 1
    assert len(tuned.classifier.bias) == 2
    assert tuned.classifier.has_seen(photos.sha256) == [split != "test" for split in photos.table["split"]]
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == tuned.history["epoch"].tolist() == [1, 2]


def test_a_probe_that_is_not_improved_is_kept(tune: Tune, probe: Classifier, photos: Dataset) -> None:
    kept = tune(selected=False, known=False)
    assert kept.classifier is probe
    np.testing.assert_array_equal(kept.predictions.probabilities, probe.predict_dataset(photos).probabilities)
    assert len(kept.history) == 2


def test_fine_tuning_is_selected_when_it_gains_more_than_a_standard_error() -> None:
    labels = np.zeros(12, np.int64)

    def compare(before: list[float], after: list[float]) -> pd.DataFrame:
        first, second = (np.stack([p, 1 - np.array(p)], axis=1) for p in (before, after))
        return fine_tune.compare(first, second, labels, "all", 5)

    by_chance = compare([0.9] * 12, [0.95] * 11 + [0.5])
    assert by_chance["delta_loss"][1] < 0
    assert by_chance["selected"].tolist() == [True, False]
    better = compare([0.9] * 8 + [0.4] * 4, [0.9] * 12)
    assert better["selected"].tolist() == [False, True]
    assert better["val_accuracy"].tolist() == pytest.approx([8 / 12, 1])
    assert better["delta_loss"].tolist() == pytest.approx([0, better["val_loss"][1] - better["val_loss"][0]])
    assert compare([0.9] * 12, [0.9] * 12)["selected"].tolist() == [True, False]  # no gain at all


def test_cached_pixels_are_the_decoded_ones_rounded_in_the_same_order_and_views(
    photos: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = fine_tune._make_loader(photos, tiny.SIZE, tiny.AUGMENTATION, tmp_path)
    monkeypatch.setattr(fine_tune, "MAX_CACHE", 10 * tiny.SIZE**2 * 3 - 1)
    decoded = fine_tune._make_loader(photos, tiny.SIZE, tiny.AUGMENTATION, tmp_path)
    assert "Each epoch decodes them again" in capsys.readouterr().out
    for options in ({}, {"seed": 1}, {"seed": 1, "start": 3}):
        pairs = zip(*(load(photos.train, batch_size=4, **options).take(2) for load in (cached, decoded)), strict=True)
        for (pixels, labels), (expected, same_labels) in pairs:
            np.testing.assert_array_equal(labels, same_labels)
            np.testing.assert_allclose(pixels, expected, atol=0.51)
    complete = np.concatenate([pixels for pixels, _ in cached(photos, batch_size=4)])
    np.testing.assert_array_equal(complete, np.rint(batches.pixels(photos, tiny.SIZE)))


def test_a_killed_run_continues_and_gives_the_same_bytes(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = tune(epochs=3)
    (tmp_path / "models/.part.npz").unlink()
    assert not list((tmp_path / "models").iterdir())  # the pixels are gone, too
    epochs = tiny.kill_after(1, monkeypatch)
    with pytest.raises(tiny.KilledError):
        tune(epochs=3)
    resumed = tune(epochs=3)
    assert epochs == [1, 2, 3]
    assert resumed.search.equals(complete.search)
    np.testing.assert_array_equal(resumed.predictions.probabilities, complete.predictions.probabilities)
    tiny.assert_same_weights(resumed.classifier.network, complete.classifier.network)
