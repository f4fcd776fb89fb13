"""The networks of the book's chapter, and functions that join parts of networks into one model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:  # predictions of a network in the cache need no Keras
    import keras

TOLERANCE = 0.02  # of a probability and of the sum of all classes: bfloat16 has 8 bits of precision


def convnet(image_size: int, classes: int, p: params.Convnet) -> "keras.Model":
    """Build a convnet that maps pixels (n, image_size, image_size, 3) in 0..255 to probabilities.

    The params select the network: Chollet 2021, listings 8.7 and 8.16 (991,041 weights at 180 px); Chollet 2017,
    listing 5-5 (3,453,121 at 150 px); Chollet 2021, listing 8.1 (104,202 at 28 px, and 712,202 without max pooling).
    """
    import keras
    from keras import layers

    pixels = x = keras.Input((image_size, image_size, 3), name="pixels")
    x = layers.Rescaling(1 / 255)(x)
    if p.color == "grayscale":
        x = keras.ops.mean(x, axis=-1, keepdims=True)
    for number, filters in enumerate(p.filters):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        if number < p.max_pooling:
            x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    if p.dropout:
        x = layers.Dropout(p.dropout)(x)
    if p.dense_units:
        x = layers.Dense(p.dense_units, activation="relu")(x)
    return keras.Model(pixels, probability_layer(classes)(x), name="convnet")


def book_head(shape: tuple[int, ...], classes: int, dense_units: int, dropout: float) -> "keras.Model":
    """Build the classifier that maps features (n, *shape) to probabilities. Chollet 2021, listing 8.21.

    It has 3,277,313 weights for features (5, 5, 512), 256 units and two classes. As in the book, the first Dense layer
    has no activation.
    """
    import keras
    from keras import layers

    features = keras.Input(shape, name="features")
    x = layers.Flatten()(features)
    x = layers.Dense(dense_units)(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(features, probability_layer(classes)(x), name="head")


def probability_layer(classes: int) -> "keras.layers.Layer":
    """The last layer: one sigmoid, (n, 1), P(second class), for two classes; otherwise a softmax, (n, classes)."""
    from keras import layers

    return layers.Dense(1, activation="sigmoid") if classes == 2 else layers.Dense(classes, activation="softmax")


def join(parts: "Sequence[keras.Model]", name: str, frozen: int = 0) -> "keras.Model":
    """Apply the parts one after the other. The model shares their weights, and each part is a layer of it.

    The first `frozen` parts always run as in inference: otherwise EfficientNet would drop some of its blocks.
    """
    import keras

    inputs = x = keras.Input(parts[0].input_shape[1:])
    for number, part in enumerate(parts):
        x = part(x, training=False) if number < frozen else part(x)
    return keras.Model(inputs, x, name=name)


def to_class_probabilities(output: NDArray[np.floating]) -> NDArray[np.float64]:
    """Convert a network's output to P(class), (n, classes): the column p of a sigmoid becomes 1 - p and p.

    Raises:
        SmallsetError: The values are not in 0..1, or the rows of a softmax do not sum to 1.
    """
    values = np.asarray(output, np.float64)
    rows = np.hstack([1 - values, values]) if values.shape[1] == 1 else values
    if not (np.abs(rows - 0.5) <= 0.5 + TOLERANCE).all() or not (np.abs(rows.sum(axis=1) - 1) <= TOLERANCE).all():
        raise SmallsetError(
            f"The model's outputs are not probabilities: expected values in 0..1 with a sum of 1 per photo, found "
            f"{values.min():.3g} to {values.max():.3g}. Use a model whose last layer is a softmax, or one sigmoid."
        )
    return rows
