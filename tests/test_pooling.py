"""The linear model is what scikit-learn's logistic regression gives, on the mean and maximum of each channel."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from smallset.datasets import lists
from smallset.evaluation import metrics
from smallset.features import caches, extraction
from smallset.images import augmentation, batches
from smallset.models import convnets, limits, model_file
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError
from smallset.training import linear_probe

P = params.Linear(C=0.1, class_weights="balanced", calibrate=False)
SIDE = 16


def roots(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, h, w, c) to (n, 2c)."""
    values = np.concatenate([features.mean((1, 2)), features.max((1, 2))], axis=1)
    return np.sign(values) * np.sqrt(np.abs(values))


def expected(inputs: NDArray[np.float32], labels: NDArray[np.int64], strength: float = P.C or 0) -> Pipeline:
    """scikit-learn's own."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced")).fit(inputs, labels)


def points(seed: int, count: int = 60, classes: int = 2) -> linear_probe.Rows:
    """Inputs in forty dimensions, to be told apart by the first, and many of them by chance."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    inputs = random.normal(size=(count, 40)).astype(np.float32)
    inputs[:, 0] += labels
    return linear_probe.Rows(inputs, labels)


@pytest.fixture
def parts() -> tuple[keras.Model, keras.Model]:
    """A trunk and a top that is frozen as well, batch normalisation in it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    trunk = keras.Model(inputs, keras.layers.Conv2D(6, 3, strides=2)(inputs / 255), name="trunk")
    inputs = keras.Input(trunk.output_shape[1:])
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(5, 3)(inputs))
    return trunk, keras.Model(inputs, x, name="top")


@pytest.fixture
def data(tmp_path: Path, drawn: lists.Photos, parts: tuple[keras.Model, keras.Model]) -> caches.Data:
    """Trained on the drawn pictures and their mirror images, validated on them."""
    train, validation = tmp_path / "larger/train.npy", tmp_path / "larger/validation.npy"
    wanted = {train: [None, augmentation.mirror], validation: extraction.PLAIN}
    extraction.from_photos(parts[0], drawn, wanted, Checkpoint(tmp_path / "extracted.npz", ""))
    return caches.Data(caches.read(train, drawn), caches.read(validation, drawn), batches.pixels(drawn, SIDE))


def test_the_head_has_a_weight_for_the_mean_and_the_maximum_of_each_channel() -> None:
    assert linear_probe.unsolved((8, 8, 512), 2).count_params() == 1_025
    assert linear_probe.unsolved((8, 8, 512), 3).count_params() == 3_075


@pytest.mark.parametrize("classes", [2, 3])
def test_a_solved_head_is_logistic_regression_also_where_channels_are_negative_or_dead(classes: int) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(90, 3, 3, 4)).astype(np.float32)
    features[..., 0] = 0  # a channel that is never active
    labels = random.integers(classes, size=90)
    features[..., 1] += labels[:, None, None]
    inputs = roots(features)
    head = linear_probe.unsolved(features.shape[1:], classes)
    linear_probe.put(linear_probe.regression(linear_probe.Rows(inputs, labels), 0.1, P), head.layers[-1])
    given = convnets.per_class(head.predict(features, verbose=0))
    np.testing.assert_allclose(given, expected(inputs, labels).predict_proba(inputs), atol=2e-3)


def test_all_views_of_the_cache_teach_it(tmp_path: Path, drawn: lists.Photos) -> None:
    path = tmp_path / "larger/train.npy"
    values = caches.create(path, drawn, (2, 2, 3), (2,))
    values[:] = np.random.default_rng(0).normal(size=values.shape)
    values[1] += 2 * drawn.labels[:, None, None, None]  # only the second view tells the classes apart
    values.flush()
    inputs = keras.Input((2, 2, 3))
    top = keras.Model(inputs, keras.layers.Activation("linear")(inputs), name="top")
    cache = caches.read(path, drawn)
    outputs = linear_probe.outputs(top, cache)
    np.testing.assert_array_equal(outputs, values.reshape(-1, 2, 2, 3).astype(np.float32))
    head = linear_probe.unsolved((2, 2, 3), 2)
    linear_probe.put(linear_probe.regression(linear_probe.rows(top, head, cache), 0.1, P), head.layers[-1])
    probability = head.predict(values[1].astype(np.float32), verbose=0)[:, 0]
    assert probability[drawn.labels == 1].min() > probability[drawn.labels == 0].max()


def test_the_saved_model_on_pixels_gives_what_scikit_learn_gives(
    tmp_path: Path, parts: tuple[keras.Model, keras.Model], data: caches.Data, drawn: lists.Photos
) -> None:
    before = [weight.copy() for part in parts for weight in part.get_weights()]
    pixels = batches.pixels(drawn, SIDE)
    views = np.concatenate([pixels, pixels[:, :, ::-1]])
    inputs, labels = roots(convnets.chain(parts, "base").predict(views, verbose=0)), np.tile(drawn.labels, 2)
    found = linear_probe.fit(*parts, data, P)
    path = tmp_path / "linear.keras"
    model_file.save(found.model, path, drawn.classes, found.temperature, beside=vars(found.limits))
    model, known = model_file.load(path), limits.needed(path)
    wanted = expected(inputs, labels).predict_proba(inputs[:10])
    assert wanted.max() - wanted.min() > 0.3
    np.testing.assert_allclose(metrics.predictor(model)(drawn).probability, wanted, atol=5e-3)
    said = metrics.predictor(model, known)(drawn)  # of the validation photos, as when the limits were set
    np.testing.assert_allclose(said.probability, wanted, atol=5e-3)
    np.testing.assert_allclose(np.sort(said.unlikeness), known.usual, atol=2e-2)
    np.testing.assert_allclose(np.sort(1 - said.probability[np.arange(10), drawn.labels]), known.doubt, atol=5e-3)
    after = [weight for name in ("trunk", "top") for weight in model.get_layer(name).get_weights()]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert list(found.history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    [row] = found.history.to_dict("records")
    assert (row["epoch"], row["val_loss"]) == (1, pytest.approx(log_loss(drawn.labels, wanted), rel=1e-2))
    assert row["loss"] == pytest.approx(log_loss(labels, expected(inputs, labels).predict_proba(inputs)), rel=1e-2)
    assert found.choice.to_dict("records") == [
        {"C": 0.1, "val_loss": row["val_loss"], "val_accuracy": row["val_accuracy"], "chosen": True}
    ]


def test_its_temperature_divides_the_logits_and_changes_no_prediction(
    parts: tuple[keras.Model, keras.Model], data: caches.Data, drawn: lists.Photos
) -> None:
    plain = linear_probe.fit(*parts, data, P)
    warm = linear_probe.fit(*parts, data, P.model_copy(update={"calibrate": True}))
    assert plain.temperature == 1
    assert warm.temperature != pytest.approx(1, rel=0.1)
    given = [metrics.predictor(one.model)(drawn).probability for one in (plain, warm)]
    odds = [np.log(p[:, 1] / p[:, 0]) for p in given]
    np.testing.assert_allclose(odds[0] / warm.temperature, odds[1], rtol=1e-2, atol=1e-2)
    assert plain.history.equals(warm.history)


def test_a_cache_of_another_trunk_is_refused(parts: tuple[keras.Model, keras.Model], data: caches.Data) -> None:
    parts[0].set_weights([-weight for weight in parts[0].get_weights()])
    with pytest.raises(SmallsetError, match="before training, features: the model on pixels and on the cached rows"):
        linear_probe.fit(*parts, data, P)


@pytest.mark.parametrize("classes", [2, 3])
def test_c_is_the_one_of_the_lowest_validation_loss_and_is_written_down(classes: int) -> None:
    train, validation = points(0, classes=classes), points(1, classes=classes)
    solved, choice = linear_probe.choose(train, validation, P.model_copy(update={"C": None}))
    losses = [
        log_loss(validation.labels, expected(train.inputs, train.labels, strength).predict_proba(validation.inputs))
        for strength in linear_probe.GRID
    ]
    assert list(choice.columns) == ["C", "val_loss", "val_accuracy", "chosen"]
    assert choice.C.tolist() == list(linear_probe.GRID)
    np.testing.assert_allclose(choice.val_loss, losses, rtol=1e-3)
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1
    assert choice.chosen.tolist() == [number == best for number in range(len(losses))]
    assert linear_probe.GRID[best] == solved[-1].C


def test_c_hangs_on_the_validation_photos_alone() -> None:
    train, p = points(0), P.model_copy(update={"C": None})
    easy = linear_probe.Rows(train.inputs, train.labels)  # the training photos again: the steepest is best
    hard = linear_probe.Rows(train.inputs, 1 - train.labels)  # all of it is wrong: the flattest is best
    assert [linear_probe.choose(train, one, p)[0][-1].C for one in (easy, hard)] == [
        linear_probe.GRID[-1],
        linear_probe.GRID[0],
    ]
    assert linear_probe.choose(train, hard, P)[0][-1].C == 0.1  # unless it is given


def test_each_class_counts_alike_where_it_should() -> None:
    train, few = points(0), np.r_[0:60:2, 1:7:2]
    rare = linear_probe.Rows(train.inputs[few], train.labels[few])

    def losses(**changes: Any) -> list[float]:
        solved = linear_probe.regression(train, 0.1, P)
        kinds = [
            rare,
            *(linear_probe.Rows(rare.inputs[rare.labels == k], rare.labels[rare.labels == k]) for k in (0, 1)),
        ]
        return [linear_probe.measures(solved, kind, P.model_copy(update=changes))["loss"] for kind in kinds]

    balanced, *each = losses()
    assert balanced == pytest.approx(np.mean(each))
    plain, *each = losses(class_weights=None)
    assert plain == pytest.approx(np.average(each, weights=[30, 3]))
