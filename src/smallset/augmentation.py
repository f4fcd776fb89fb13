"""Random flips, turns, shifts, shears and zooms of training photos."""

import math

import keras
from keras import layers

from smallset import params


def build(p: params.Augmentation, size: int, seed: int) -> keras.Sequential:
    """Map pixels (n, size, size, 3) in 0..255 to the like, at random unless called with training=False.

    Chollet 2021, listing 8.14. With shift, shear and a free aspect it draws as the first edition's ImageDataGenerator
    (2017, listing 5-11): sides are shifted up to a fraction, rows sheared up to an angle, each side zoomed on its own.
    """
    shear = math.sin(math.radians(p.shear))
    drawn = {
        "flip": layers.RandomFlip(p.flip, seed=seed),
        "rotation": layers.RandomRotation(p.rotation, fill_mode=p.fill, seed=seed + 1),
        "shift": layers.RandomTranslation(p.shift, p.shift, fill_mode=p.fill, seed=seed + 3),
        "shear": layers.RandomShear(y_factor=shear, fill_mode=p.fill, seed=seed + 4),
        "zoom": layers.RandomZoom(p.zoom, None if p.keep_aspect else p.zoom, fill_mode=p.fill, seed=seed + 2),
    }
    return keras.Sequential(
        [keras.Input((size, size, 3)), *(layer for name, layer in drawn.items() if getattr(p, name))],
        name="augmentation",
    )


def mirror(size: int) -> keras.Model:
    """Map pixels (n, size, size, 3) to their mirror images, left and right exchanged."""
    pixels = keras.Input((size, size, 3))
    return keras.Model(pixels, keras.ops.flip(pixels, axis=2), name="mirror")
