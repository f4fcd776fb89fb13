"""How deep a base is trained: each depth as if it alone were tried, the best by validation, and written down."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from pipelines import short

from smallset.datasets import lists
from smallset.evaluation import metrics
from smallset.features import caches, extraction
from smallset.images import batches
from smallset.models import model_file
from smallset.pipeline import files, params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import depths, fitting, linear_probe

SIDE = 8
P = short(params.Tuning, depth=None)
BOOK = params.Augmentation(
    flip="horizontal", rotation=0.1, shift=0.0, shear=0.0, zoom=0.2, keep_aspect=True, fill="reflect"
)
Start = tuple[Path, caches.Data]
PREFERRED = depths.preferred


@pytest.fixture(autouse=True)
def poor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `linear` were never good enough."""
    monkeypatch.setattr(depths, "LEFT", -1)


@pytest.fixture
def start(tmp_path: Path, drawn: lists.Photos) -> Start:
    """What `linear` saves of a small base, and the cache of its trunk."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs / 255))
    trunk = keras.Model(inputs, x, name="trunk")
    inputs = keras.Input(trunk.output_shape[1:])
    top = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs), name="top")
    path = tmp_path / "larger/validation.npy"
    extraction.from_photos(trunk, drawn, {path: extraction.PLAIN}, Checkpoint(tmp_path / "extracted.npz", ""))
    cache = caches.read(path, drawn)
    data = caches.Data(cache, cache, batches.pixels(drawn, SIDE))
    linear = linear_probe.fit(trunk, top, data, params.Linear(C=0.01, class_weights=None, calibrate=False))
    model_file.save(linear.model, tmp_path / "linear.keras", drawn.classes)
    return tmp_path / "linear.keras", data


def tuned(start: Start, history: Path | None = None, **changes: Any) -> depths.Tuned:
    """A run of the stage `pooled`."""
    path, data = start
    keras.utils.set_random_seed(0)
    parts = [model_file.load(path).get_layer(name) for name in ("trunk", "top", "head")]
    run = fitting.Run(0, Checkpoint(path.with_name(".part.pooled.npz"), repr(changes)), history)
    return depths.fit(parts, data, P.model_copy(update=changes), run)


@pytest.mark.parametrize("augmentation", [None, BOOK])
def test_a_depth_that_is_tried_among_others_comes_to_what_it_comes_to_alone(
    start: Start, augmentation: params.Augmentation | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depths, "preferred", lowest)
    both = tuned(start, augmentation=augmentation)
    alone = {depth: tuned(start, depth=depth, augmentation=augmentation) for depth in ("top", "whole")}
    assert both.choice.depth.tolist() == ["frozen", "top", "whole"]
    np.testing.assert_allclose(both.choice.val_loss[1:], [one.choice.val_loss[0] for one in alone.values()], rtol=1e-4)
    best = alone[both.choice.depth[both.choice.chosen].item()]
    assert both.history.equals(best.history)
    for found, expected in zip(both.model.get_weights(), best.model.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def lowest(tried: Sequence[depths.Trial]) -> pd.DataFrame:
    """The choice as if every difference were more than chance, and nothing could be left as it is."""
    table = PREFERRED(tried)
    return table.assign(
        chosen=table.index == int(table.val_loss.tolist().index(table.val_loss[int(len(tried) > 1) :].min()))
    )


def trial(depth: str, right: list[float]) -> depths.Trial:
    """One that gives the right class of two these probabilities."""
    known = linear_probe.Rows(np.zeros((len(right), 1), np.float32), np.zeros(len(right), np.int64))
    fitted = fitting.Fitted(1.0, pd.DataFrame({"epoch": []}))
    return depths.Trial(depth, fitted, [], known, np.stack([right, 1 - np.array(right)], axis=1))


def test_the_base_is_left_as_it_is_unless_training_gains_more_than_a_standard_error() -> None:
    better = [0.9] * 8 + [0.4] * 4
    by_chance = depths.preferred([trial("frozen", [0.9] * 12), trial("top", [0.95] * 11 + [0.5])])
    assert by_chance.val_loss.argmin() == 1
    assert by_chance.chosen.tolist() == [True, False]
    assert by_chance.above[0] <= by_chance.se[0]
    real = depths.preferred([trial("frozen", better), trial("top", [0.9] * 12), trial("whole", [0.95] * 11 + [0.55])])
    assert real.chosen.tolist() == [False, False, True]
    assert real.above[1] <= real.se[1]
    assert real.above.tolist() == pytest.approx((real.val_loss - real.val_loss.min()).tolist())
    assert real.val_accuracy.tolist() == pytest.approx([8 / 12, 1, 1])


def test_where_nothing_is_gained_the_model_is_that_of_linear(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depths, "preferred", lambda tried: PREFERRED(tried).assign(chosen=[True, False, False]))
    found = tuned(start)
    assert len(found.history) == P.epochs
    for one, other in zip(found.model.get_weights(), model_file.load(start[0]).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_whole_trains_the_trunk_and_the_top_does_not_and_normalisation_stays(start: Start) -> None:
    before = model_file.load(start[0]).get_layer("trunk")
    for depth, changed in (("top", 0), ("whole", 2)):  # kernel and bias; a BatchNormalization has four more
        after = tuned(start, depth=depth).model.get_layer("trunk")
        pairs = zip(before.get_weights(), after.get_weights(), strict=True)
        assert sum(not np.array_equal(one, other) for one, other in pairs) == changed


@pytest.mark.parametrize("depth", ["top", "whole"])
def test_its_limits_are_those_of_the_trained_features(start: Start, drawn: lists.Photos, depth: str) -> None:
    found = tuned(start, depth=depth)
    said = metrics.predictor(found.model, found.limits)(drawn)
    np.testing.assert_allclose(np.sort(said.unlikeness), found.limits.usual, atol=2e-2)
    doubt = 1 - said.probability[np.arange(10), drawn.labels]
    np.testing.assert_allclose(np.sort(doubt), found.limits.doubt, atol=5e-3)


def test_a_large_base_is_trained_to_its_top_unless_it_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depths, "LIGHT", 10)
    assert tuned(start).choice.depth.tolist() == ["frozen", "top"]
    assert tuned(start, depth="whole").choice.depth.tolist() == ["whole"]


def test_where_linear_gets_nearly_all_right_the_whole_is_not_tried(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = tuned(start).choice.val_accuracy[0]
    for left, tried in ((1 - right, ["frozen", "top"]), (0.99 - right, ["frozen", "top", "whole"])):
        monkeypatch.setattr(depths, "LEFT", left + 1e-9)
        assert tuned(start).choice.depth.tolist() == tried


def test_the_choice_is_read_from_its_table(start: Start, tmp_path: Path) -> None:
    found = tuned(start)
    files.write_csv(tmp_path / "choice.csv", found.choice)
    assert [depths.chosen(tmp_path / "choice.csv")] == found.choice.depth[found.choice.chosen].tolist()


def test_a_run_that_was_killed_in_the_second_depth_ends_the_same(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tuned(start)
    Checkpoint(start[0].with_name(".part.pooled.npz"), "").remove()
    assert not list(start[0].parent.glob(".part*"))
    plain, epochs = fitting.Progress.on_epoch_end, []

    def end(self: fitting.Progress, epoch: int, logs: dict[str, float]) -> None:
        epochs.append(epoch)
        if len(epochs) == 4:
            raise KeyboardInterrupt
        plain(self, epoch, logs)

    monkeypatch.setattr(fitting.Progress, "on_epoch_end", end)
    with pytest.raises(KeyboardInterrupt):
        tuned(start)
    again = tuned(start, tmp_path / "history.csv")
    assert len(epochs) == 5
    assert again.choice.equals(whole.choice)
    for found, expected in zip(again.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert list(pd.read_csv(tmp_path / "history.csv").columns) == list(again.history.columns)
