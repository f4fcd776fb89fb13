"""One temperature for a model, so that its probabilities mean what they say (Guo et al. 2017)."""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy import optimize, special

BOUNDS = np.log([0.05, 1000.0])  # the book's heads need about 100
SHRINK = 64.0  # a power of two, exact in any precision: what float32 would round to 0 or 1 stays apart


def fit(model: keras.Model, batches: tf.data.Dataset, labels: NDArray[np.int64]) -> float:
    """Divide the model's logits, in place, by the temperature of the lowest loss on `batches`; return it.

    No prediction changes, only how sure it is. The temperature goes into the weights of the last layer, so that the
    model has no more layers than before. labels: of the rows in `batches`, (n,).
    """
    values = logits(model, batches)
    wanted = targets(labels, values.shape[1])

    def loss(logarithm: float) -> float:
        return -float((wanted * special.log_softmax(values / np.exp(logarithm), axis=1)).sum(axis=1).mean())

    temperature = float(np.exp(optimize.minimize_scalar(loss, bounds=BOUNDS, method="bounded").x))
    divide(model, temperature)
    print(f"temperature {temperature:.3g}: the loss on the validation photos falls from {loss(0):.4f} ", end="")
    print(f"to {loss(np.log(temperature)):.4f}")
    return temperature


def logits(model: keras.Model, batches: tf.data.Dataset) -> NDArray[np.float64]:
    """(n, classes), up to a constant for each row: what the last layer gives before its sigmoid or softmax."""
    divide(model, SHRINK)
    output = model.predict(batches, verbose=0).astype(np.float64)
    divide(model, 1 / SHRINK)
    if output.shape[1] == 1:
        output = np.hstack([1 - output, output])
    return SHRINK * np.log(np.clip(output, 1e-7, 1))


def divide(model: keras.Model, temperature: float) -> None:
    """Divide the weights of the last layer, a Dense one, also where it is that of an inner model."""
    last = model.layers[-1]
    while isinstance(last, keras.Model):
        last = last.layers[-1]
    last.set_weights([weights / np.float32(temperature) for weights in last.get_weights()])


def targets(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(n, classes), rows of sum 1: just short of certain, or a model that is always right would never be sure enough.

    (n + 1) / (n + 2), Laplace's rule: as if of two photos more one had another label. Platt 1999, section 2.2, has two
    for each class, too many where a class has few photos: a temperature is one number for all classes.
    """
    sure = (len(labels) + 1) / (len(labels) + 2)
    return np.where(np.arange(classes) == labels[:, None], sure, (1 - sure) / (classes - 1))
