"""Temperature scaling: one number per model that makes its probabilities reliable (Guo et al. 2017)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from smallset.models import model_file
from smallset.models.model_file import Network

BOUNDS = np.log([0.05, 1000.0])  # of the temperature; the book's heads need about 100
SHRINK = 64.0  # a power of two, so that dividing by it is exact


def calibrate(network: Network, batches: Any, labels: NDArray[np.int64]) -> float:  # noqa: ANN401 - as Keras's predict
    """Divide the network's logits, in place, by the temperature with the lowest loss; return the temperature.

    The predicted classes do not change, only their probabilities. batches: input for `network.predict`, with the photos
    of `labels` (n,) in their order.
    """
    logits = compute_logits(network, batches)
    temperature = fit_temperature(logits, labels)
    apply_temperature(network, temperature)
    before, after = _loss(logits, labels), _loss(logits / temperature, labels)
    falls = f"falls from {before:.4f} to {after:.4f}"
    print(f"temperature {temperature:.3g}: the validation loss with smoothed labels {falls}")
    return temperature


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature, in 0.05..1000, with the lowest loss for logits (n, classes) and labels (n,)."""
    values = np.asarray(logits, np.float64)
    best = optimize.minimize_scalar(lambda log: _loss(values / np.exp(log), labels), bounds=BOUNDS, method="bounded")
    return float(np.exp(best.x))


def compute_logits(network: Network, batches: Any) -> NDArray[np.float64]:  # noqa: ANN401 - as Keras's predict
    """The inputs of the network's sigmoid or softmax, (n, classes), up to a constant per row.

    The logits are divided by SHRINK while the network runs, because float32 rounds probabilities near 0 and 1.
    """
    apply_temperature(network, SHRINK)
    output = network.predict(batches, verbose=0).astype(np.float64)
    apply_temperature(network, 1 / SHRINK)
    if output.shape[1] == 1:
        output = np.hstack([1 - output, output])
    return SHRINK * np.log(np.clip(output, 1e-7, 1))


def apply_temperature(network: Network, temperature: float) -> None:
    """Divide the weights of the last layer, a Dense layer, in place."""
    last = model_file.last_layer(network)
    last.set_weights([weights / np.float32(temperature) for weights in last.get_weights()])


def _loss(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The cross-entropy, with targets of (n + 1) / (n + 2) for the labels.

    With targets of 1 a network without errors would get the lowest temperature. Platt (1999, section 2.2) does this per
    class, which moves the targets too far when a class has few photos.
    """
    (n, classes), target = logits.shape, (len(labels) + 1) / (len(labels) + 2)
    targets = np.where(np.arange(classes) == labels[:, None], target, (1 - target) / (classes - 1))
    return -float((targets * special.log_softmax(logits, axis=1)).sum() / n)
