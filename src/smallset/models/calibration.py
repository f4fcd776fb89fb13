"""Calibration: a temperature, and a bias for each class, that make a model's probabilities reliable.

The temperature is that of Guo et al. (2017), the biases are those of Alexandari et al. (2020, Maximum likelihood with
bias-corrected calibration is hard to beat at label shift adaptation, arXiv:1901.06852).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from smallset.models import model_file
from smallset.models.model_file import Network
from smallset.pipeline.errors import SmallsetError

BOUNDS = (float(np.log(0.05)), float(np.log(1000.0)))  # of the temperature; the book's heads need about 100
# The distributions that the parameters have before any photo is seen: a temperature near 1, unless there is evidence
# for another one, and biases near 0. Without them, the temperature of a dozen photos raised the loss in simulations.
LOG_TEMPERATURE_SCALE = 0.25  # of a Cauchy distribution
BIAS_DEVIATION = 1.0  # of a normal distribution
NAMED = 6  # classes in an error
SHRINK = 64.0  # a power of two, so that dividing by it is exact

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Folds = Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]


class Scaling(NamedTuple):
    """Logits (n, classes) are divided by the temperature; then the bias, (classes,), is added."""

    temperature: float
    bias: Array

    def shift(self, bias: Array) -> "Scaling":
        """The same scaling with more bias."""
        return self._replace(bias=self.bias + bias)

    def apply(self, logits: Array) -> Array:
        """P(class), (n, classes)."""
        return special.softmax(logits / self.temperature + self.bias, axis=1)

    def undo(self, probabilities: Array) -> Array:
        """What P(class) was without the scaling, (n, classes)."""
        return special.softmax(self.temperature * (np.log(probabilities) - self.bias), axis=1)

    def scale(self, kernel: Any, intercept: Any) -> tuple[Any, Any]:  # noqa: ANN401 - arrays of any precision
        """The weights and the intercepts, (classes,), or (1,) of one sigmoid, of a last layer with scaled logits."""
        bias = self.bias if len(intercept) > 1 else self.bias[1:] - self.bias[:1]
        return kernel / self.temperature, intercept / self.temperature + bias

    def scale_network(self, network: Network) -> None:
        """Change the last layer, a Dense layer, in place, so that the network's logits are scaled."""
        last = model_file.last_layer(network)
        last.set_weights([*self.scale(*last.get_weights())])


IDENTITY = Scaling(1.0, np.zeros(1))  # of a model without calibration


def calibrate(network: Network, batches: Any, labels: Labels) -> float:  # noqa: ANN401 - as Keras's predict
    """Divide the network's logits, in place, by the temperature with the lowest loss; return the temperature.

    The predicted classes do not change, only their probabilities. batches: input for `network.predict`, with the photos
    of `labels` (n,) in their order.
    """
    logits = compute_logits(network, batches)
    scaling = fit_scaling(logits, labels, biased=False)
    scaling.scale_network(network)
    before, after = (_loss(values, labels) for values in (logits, logits / scaling.temperature))
    changes = f"the unweighted validation loss changes from {before:.4f} to {after:.4f}"
    print(f"temperature {scaling.temperature:.3g}: {changes}")
    return scaling.temperature


def fit_scaling(logits: NDArray[np.floating], labels: Labels, biased: bool = True) -> Scaling:
    """The most probable temperature and biases for logits (n, classes) and labels (n,); biases of 0 unless `biased`.

    With many photos, they are those with the lowest loss, and the mean of P(class) is the share of the class.
    """
    values, targets, classes = np.asarray(logits, np.float64), _soften(labels, logits.shape[1]), logits.shape[1]

    def objective(parameters: Array) -> tuple[float, Array]:
        inverse, bias = np.exp(-parameters[0]), parameters[1:]
        scaled = special.log_softmax(values * inverse + bias, axis=1)
        errors, position = np.exp(scaled) - targets, parameters[0] / LOG_TEMPERATURE_SCALE
        penalty = np.log1p(position**2) + np.square(bias / BIAS_DEVIATION).sum() / 2
        slope = 2 * position / LOG_TEMPERATURE_SCALE / (1 + position**2) - inverse * (errors * values).sum()
        gradient = np.array([slope, *(errors.sum(axis=0) + bias / BIAS_DEVIATION**2)])
        return penalty - (targets * scaled).sum(), gradient

    bounds = [BOUNDS, *[(None, None) if biased else (0, 0)] * classes]
    best = optimize.minimize(objective, np.zeros(1 + classes), jac=True, bounds=bounds).x
    return Scaling(float(np.exp(best[0])), best[1:])


def calibrate_classes(
    network: Network,
    batches: Any,  # noqa: ANN401 - as Keras's predict
    labels: Labels,
    folds: Folds,
    bias: Array,
) -> tuple[Scaling, Array]:
    """Scale the network's logits, in place, with a temperature and biases, to which `bias`, (classes,), is added.

    Returns the scaling, and P(class), (n, classes), of the photos from scalings that are fitted to the other folds: one
    that was fitted to a photo makes it look too probable, so that prediction sets would be too small.

    Args:
        network: A classifier.
        batches: Input for `network.predict`, with the photos of `labels` in their order.
        labels: (n,) Of photos that did not train the network.
        folds: For each fold the rows outside of it, and in it.
        bias: (classes,) From `prior_bias`.
    """
    logits = compute_logits(network, batches)
    probabilities = special.softmax(logits + bias, axis=1)
    for inside, outside in folds:
        probabilities[outside] = fit_scaling(logits[inside], labels[inside]).shift(bias).apply(logits[outside])
    scaling = fit_scaling(logits, labels).shift(bias)
    scaling.scale_network(network)
    return scaling, probabilities


def prior_bias(prior: str | Mapping[str, float], labels: Labels, classes: tuple[str, ...]) -> Array:
    """What to add to logits, (classes,), so that probabilities hold where the classes have other shares than in labels.

    This multiplies P(class) by the ratio of the shares (Saerens et al. 2002, Adjusting the outputs of a classifier to
    new a priori probabilities).

    Args:
        prior: `training` for the shares in the labels, `equal` shares, or the share of each class.
        labels: (n,) Of the photos that fitted the classifier.
        classes: The names of the classes.
    """
    if prior == "training":
        return np.zeros(len(classes))
    shares = dict.fromkeys(classes, 1.0) if isinstance(prior, str) else prior
    if wrong := sorted({*shares} ^ {*classes}):
        problem = f"expected a share for each class, and for no others; these differ: {', '.join(wrong[:NAMED])}"
        raise SmallsetError(f"params.yaml: class_prior: {problem}. Write one share for each of {len(classes)} classes.")
    wanted, counts = np.array([shares[name] for name in classes]), np.bincount(labels, minlength=len(classes))
    return np.log(wanted / wanted.sum()) - np.log(np.maximum(counts, 1) / len(labels))


def compute_logits(network: Network, batches: Any) -> Array:  # noqa: ANN401 - as Keras's predict
    """The inputs of the network's sigmoid or softmax, (n, classes), up to a constant per row.

    The logits are divided by SHRINK while the network runs, because float32 rounds probabilities near 0 and 1.
    """
    last = model_file.last_layer(network)
    weights = last.get_weights()
    last.set_weights([values / np.float32(SHRINK) for values in weights])
    output = network.predict(batches, verbose=0).astype(np.float64)
    last.set_weights(weights)
    if output.shape[1] == 1:
        output = np.hstack([1 - output, output])
    return SHRINK * np.log(np.clip(output, 1e-7, 1))


def _loss(logits: Array, labels: Labels) -> float:
    return -float(special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def _soften(labels: Labels, classes: int) -> Array:
    """Targets of (n + 1) / (n + 2) for the labels, (n, classes).

    With targets of 1 a network without errors would get the lowest temperature. Platt (1999, section 2.2) does this per
    class, which moves the targets too far when a class has few photos.
    """
    target = (len(labels) + 1) / (len(labels) + 2)
    return np.where(np.arange(classes) == labels[:, None], target, (1 - target) / (classes - 1))
