"""The networks of the chapter, and how parts are put together into one that maps pixels to probabilities."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

ROUNDED = 0.02  # of a probability, and of the sum of all, in bfloat16


def convnet(size: int, classes: int, p: params.Convnet) -> keras.Model:
    """Map (n, size, size, 3) pixels in 0..255 to probabilities. Chollet 2021, listings 8.7 and 8.16.

    991,041 weights at 180 px for two classes; 3,453,121 with the first edition's params (2017, listing 5-5) at 150 px;
    104,202 with those of listing 8.1 for digits, 712,202 without its pooling.
    """
    pixels = x = keras.Input((size, size, 3), name="pixels")
    x = layers.Rescaling(1 / 255)(x)
    if p.color == "grey":
        x = keras.ops.mean(x, axis=-1, keepdims=True)
    for number, filters in enumerate(p.filters):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        if number < p.pooled:
            x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    if p.dropout:
        x = layers.Dropout(p.dropout)(x)
    if p.units:
        x = layers.Dense(p.units, activation="relu")(x)
    return keras.Model(pixels, probabilities(classes)(x), name="convnet")


def probabilities(classes: int) -> layers.Layer:
    """The last layer: for two classes one sigmoid, (n, 1) P(second class); for more a softmax, (n, classes)."""
    return layers.Dense(1, activation="sigmoid") if classes == 2 else layers.Dense(classes, activation="softmax")


def chain(parts: Sequence[keras.Model], name: str) -> keras.Model:
    """Parts one after the other as one model that shares their weights; each stays a layer under its own name."""
    inputs = x = keras.Input(parts[0].input_shape[1:])
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x, name=name)


def per_class(output: NDArray[np.floating]) -> NDArray[np.float64]:
    """A model's output as P(class), (n, classes): softmax as it is, one sigmoid (n, 1) as the columns 1 - p and p.

    SmallsetError where these are no probabilities.
    """
    values = np.asarray(output, np.float64)
    rows = np.hstack([1 - values, values]) if values.shape[1] == 1 else values
    if not (np.abs(rows - 0.5) <= 0.5 + ROUNDED).all() or not (np.abs(rows.sum(axis=1) - 1) <= ROUNDED).all():
        raise SmallsetError(
            f"The model gives no probabilities: expected values in 0..1 of the sum 1, found {values.min():.3g} to "
            f"{values.max():.3g}. Take a model that a smallset pipeline saved."
        )
    return rows
