"""Random flips, turns, shifts, shears and zooms of training photos, all drawn by seed, view and photo alone.

The three give the same picture in any batch, process and order; nothing else has a state to be kept.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.datasets.lists import Photos
from smallset.pipeline import params

Transforms = NDArray[np.float32]  # (n, 8): of each output pixel x, y the place that it comes from, as Keras has it
View = Callable[[tf.Tensor, Photos], tf.Tensor]  # a batch of pixels and its photos to pixels of the same shape


def view(p: params.Augmentation, size: int, seed: int, number: int) -> View:
    """View `number` of each photo of a batch (n, size, size, 3), pixels in 0..255."""
    return lambda pixels, found: moved(pixels, drawn(p, size, seed, number, found), p.fill)


def mirror(pixels: tf.Tensor, _: Photos) -> tf.Tensor:
    """The view (n, size, size, 3) with left and right exchanged."""
    return pixels[:, :, ::-1]


def moved(pixels: tf.Tensor, transforms: Transforms | tf.Tensor, fill: str) -> tf.Tensor:
    """Pixels (n, h, w, 3) taken from where the transforms (n, 8) say, bilinear; beyond the edges as `fill` says."""
    return keras.ops.image.affine_transform(pixels, transforms, "bilinear", fill)


def drawn(p: params.Augmentation, size: int, seed: int, number: int, found: Photos) -> Transforms:
    """A transform for each photo: (n, 8).

    What the layers of Chollet 2021, listing 8.14, do one after the other, in one step, so that a photo is interpolated
    once. With shift, shear and a free aspect it draws as the first edition's ImageDataGenerator (2017, listing 5-11).
    """
    return np.stack([_transform(p, size, np.random.default_rng([seed, number, int(d, 16)])) for d in found.digests])


def _transform(p: params.Augmentation, size: int, random: np.random.Generator) -> Transforms:
    """One photo's, (8,). All numbers are drawn whatever is switched on, so that one param does not move another."""
    mirrored, upturned, turn, right, down, slide, high, wide = random.uniform(-1, 1, 8)
    angle, shear = 2 * math.pi * p.rotation * turn, math.sin(math.radians(p.shear)) * slide
    flip = np.diag(
        [
            math.copysign(1, mirrored) if "horizontal" in p.flip else 1.0,
            math.copysign(1, upturned) if "vertical" in p.flip else 1.0,
        ]
    )
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    zoom = np.diag([1 + p.zoom * (high if p.keep_aspect else wide), 1 + p.zoom * high])
    linear = flip @ rotation @ np.array([[1.0, 0.0], [shear, 1.0]]) @ zoom
    centre = np.full(2, (size - 1) / 2)
    offset = centre - linear @ centre + flip @ rotation @ np.array([right, down]) * (p.shift * size)
    (a, b), (c, d) = linear
    return np.array([a, b, offset[0], c, d, offset[1], 0, 0], np.float32)
