"""The networks of the book's chapter, and functions that join parts of networks into one model."""

from collections.abc import Sequence

import keras
from keras import layers

from smallset.pipeline import params


def convnet(image_size: int, classes: int, p: params.Convnet) -> keras.Model:
    """Build a convnet that maps pixels (n, image_size, image_size, 3) in 0..255 to probabilities.

    The params select the network: Chollet 2021, listings 8.7 and 8.16 (991,041 weights at 180 px); Chollet 2017,
    listing 5-5 (3,453,121 at 150 px); Chollet 2021, listing 8.1 (104,202 at 28 px, and 712,202 without max pooling).
    """
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


def book_head(shape: tuple[int, ...], classes: int, dense_units: int, dropout: float) -> keras.Model:
    """Build the classifier that maps features (n, *shape) to probabilities. Chollet 2021, listing 8.21.

    It has 3,277,313 weights for features (5, 5, 512), 256 units and two classes. As in the book, the first Dense layer
    has no activation.
    """
    features = keras.Input(shape, name="features")
    x = layers.Flatten()(features)
    x = layers.Dense(dense_units)(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(features, probability_layer(classes)(x), name="head")


def probability_layer(classes: int) -> layers.Layer:
    """The last layer: one sigmoid, (n, 1), P(second class), for two classes; otherwise a softmax, (n, classes)."""
    return layers.Dense(1, activation="sigmoid") if classes == 2 else layers.Dense(classes, activation="softmax")


def join(parts: Sequence[keras.Model], name: str, frozen: int = 0) -> keras.Model:
    """Apply the parts one after the other. The model shares their weights, and each part is a layer of it.

    The first `frozen` parts always run as in inference: otherwise EfficientNet would drop some of its blocks.
    """
    inputs = x = keras.Input(parts[0].input_shape[1:])
    for number, part in enumerate(parts):
        x = part(x, training=False) if number < frozen else part(x)
    return keras.Model(inputs, x, name=name)
