"""What is trained on the features of a pretrained base."""

import keras
from keras import layers

from smallset.models import convnets


def book(shape: tuple[int, ...], classes: int, units: int, dropout: float) -> keras.Model:
    """Map features (n, *shape) to probabilities. Chollet 2021, listing 8.21.

    3,277,313 weights for (5, 5, 512), 256 units and two classes. The book's Dense(256) has no
    activation of its own, and neither has this one.
    """
    features = keras.Input(shape, name="features")
    x = layers.Flatten()(features)
    x = layers.Dense(units)(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(features, convnets.probabilities(classes)(x), name="head")
