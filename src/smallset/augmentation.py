"""Random flips, turns and zooms of training photos (listing 8.14)."""

import keras
from keras import layers

from smallset import params


def build(p: params.Augmentation, size: int, seed: int) -> keras.Sequential:
    """Map pixels (n, size, size, 3) in 0..255 to the like, at random when called with training=True, else unchanged."""
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.RandomFlip(p.flip, seed=seed),
            layers.RandomRotation(p.rotation, seed=seed + 1),
            layers.RandomZoom(p.zoom, seed=seed + 2),
        ],
        name="augmentation",
    )
