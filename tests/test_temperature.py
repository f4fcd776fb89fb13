"""A temperature changes how sure a model is, never what it says; it is found where it is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import special

from smallset.evaluation import calibration
from smallset.models import temperature

N = 20_000


def model(classes: int) -> keras.Model:
    """Gives the logits that it takes, as probabilities, from an inner model as smallset's own do."""
    inputs = keras.Input((1 if classes == 2 else classes,))
    last = keras.layers.Dense(inputs.shape[1], "sigmoid" if classes == 2 else "softmax", kernel_initializer="identity")
    inner = keras.Model(inputs, last(inputs))
    outer = keras.Input(inputs.shape[1:])
    return keras.Model(outer, inner(outer))


def drawn(classes: int, factor: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits that are `factor` times as large as the labels, which are drawn from them, bear out."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(N, 1 if classes == 2 else classes))
    true = np.hstack([np.zeros_like(logits), logits]) if classes == 2 else logits
    labels = (special.softmax(true, axis=1).cumsum(axis=1) < random.random((N, 1))).sum(axis=1)
    return (factor * logits).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("factor", [0.5, 1, 40])  # 40: logits that float32's sigmoid and softmax round to 0 and 1
def test_the_temperature_that_made_a_model_too_sure_is_found(classes: int, factor: float) -> None:
    logits, labels = drawn(classes, factor)
    network, rows = model(classes), tf.data.Dataset.from_tensor_slices(logits).batch(1000)
    before = network.predict(rows, verbose=0)
    assert temperature.fit(network, rows, labels) == pytest.approx(factor, rel=0.05)
    after = network.predict(rows, verbose=0)
    if classes == 2:
        before, after = (np.hstack([1 - p, p]) for p in (before, after))
    np.testing.assert_array_equal(after.argmax(1), np.where(before.max(1) < 1, before.argmax(1), after.argmax(1)))
    assert calibration.ece(labels, after.astype(np.float64)) < 0.02


def test_a_model_that_is_always_right_is_not_made_infinitely_sure() -> None:
    labels = np.arange(100) % 2
    logits = np.where(labels == 1, 3.0, -3.0)[:, None].astype(np.float32)
    network = model(2)
    temperature.fit(network, tf.data.Dataset.from_tensor_slices(logits).batch(10), labels)
    assert network.predict(logits, verbose=0)[labels == 1].mean() == pytest.approx(101 / 102, abs=0.001)


def test_targets_stop_short_of_certain_by_the_number_of_photos() -> None:
    wanted = temperature.targets(np.array([0, 0, 1]), 3)
    np.testing.assert_allclose(wanted, [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
