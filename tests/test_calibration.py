"""A temperature changes how sure a model is, never its labels; the one that made it overconfident is found."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from smallset.models import calibration

N = 20_000


def pass_through(classes: int) -> keras.Model:
    """A network whose logits are its inputs. The last layer is in an inner model, as in smallset's own networks."""
    inputs = keras.Input((1 if classes == 2 else classes,))
    last = keras.layers.Dense(inputs.shape[1], "sigmoid" if classes == 2 else "softmax", kernel_initializer="identity")
    inner, outer = keras.Model(inputs, last(inputs)), keras.Input(inputs.shape[1:])
    return keras.Model(outer, inner(outer))


def draw(classes: int, factor: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits that are `factor` times as large as those that the labels are drawn from."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(N, 1 if classes == 2 else classes))
    columns = np.hstack([np.zeros_like(logits), logits]) if classes == 2 else logits
    labels = (special.softmax(columns, axis=1).cumsum(axis=1) < random.random((N, 1))).sum(axis=1)
    return (factor * logits).astype(np.float32), labels


def probabilities(network: keras.Model, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    output = network.predict(rows, batch_size=1000, verbose=0).astype(np.float64)
    return np.hstack([1 - output, output]) if output.shape[1] == 1 else output


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("factor", [0.5, 1, 40])  # 40: float32 rounds most probabilities to 0 and 1
def test_the_temperature_that_made_a_model_overconfident_is_found(classes: int, factor: float) -> None:
    rows, labels = draw(classes, factor)
    network = pass_through(classes)
    before = probabilities(network, rows)
    assert calibration.calibrate(network, rows, labels) == pytest.approx(factor, rel=0.05)
    after = probabilities(network, rows)
    clear = before.max(axis=1) < 1
    np.testing.assert_array_equal(after.argmax(axis=1)[clear], before.argmax(axis=1)[clear])
    assert abs(after.max(axis=1).mean() - (after.argmax(axis=1) == labels).mean()) < 0.01


def test_logits_are_those_of_the_network_and_its_weights_stay() -> None:
    rows, labels = draw(3, 10)
    assert calibration.fit_scaling(rows, labels).temperature == pytest.approx(10, rel=0.05)
    network = pass_through(3)
    weights = [values.tobytes() for values in network.get_weights()]
    logits = calibration.compute_logits(network, rows[:100])
    differences = logits - logits[:, :1] - (rows[:100] - rows[:100, :1])
    np.testing.assert_allclose(differences, 0, atol=1e-3)
    assert [values.tobytes() for values in network.get_weights()] == weights


def test_a_model_without_errors_stays_short_of_certain() -> None:
    labels = np.arange(100) % 2
    rows, network = np.where(labels == 1, 3.0, -3.0)[:, None].astype(np.float32), pass_through(2)
    before = probabilities(network, rows)[labels == 1, 1].mean()
    calibration.calibrate(network, rows, labels)
    assert before < probabilities(network, rows)[labels == 1, 1].mean() < 101 / 102
