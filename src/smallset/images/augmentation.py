"""Random flips, rotations and zooms of training photos (listing 8.14).

Each is a function of the seed, the number of the view and the photo's sha256. So a photo gets the same view in any
batch, process and order, and nothing else has to be saved to continue an interrupted training.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.pipeline import params


class Photos(Protocol):
    """What augmentation and batches use of a `Dataset`."""

    @property
    def paths(self) -> Sequence[Path]: ...  # noqa: D102
    @property
    def labels(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def sha256(self) -> Sequence[str]: ...  # noqa: D102
    def take(self, rows: NDArray[np.int64]) -> Self: ...  # noqa: D102


View = Callable[[tf.Tensor, Photos], tf.Tensor]  # a batch of pixels and its photos -> pixels of the same shape


def view(p: params.Augmentation, image_size: int, seed: int, number: int) -> View:
    """Return a function that computes view `number` of each photo of a batch (n, image_size, image_size, 3)."""
    return lambda pixels, photos: transform(pixels, draw_transforms(p, image_size, seed, number, photos), p.fill)


def transform(pixels: tf.Tensor, transforms: NDArray[np.float32] | tf.Tensor, fill: str) -> tf.Tensor:
    """Apply the transforms (n, 8) to pixels (n, h, w, 3) with bilinear interpolation."""
    return keras.ops.image.affine_transform(pixels, transforms, "bilinear", fill)


def draw_transforms(
    p: params.Augmentation, image_size: int, seed: int, number: int, photos: Photos
) -> NDArray[np.float32]:
    """Draw one affine transform per photo: (n, 8), from output to input coordinates, as Keras expects it.

    One transform does what the layers of listing 8.14 do one after the other, so a photo is interpolated only once.
    """
    generators = (np.random.default_rng([seed, number, int(digest, 16)]) for digest in photos.sha256)
    return np.stack([_draw_transform(p, image_size, random) for random in generators])


def _draw_transform(p: params.Augmentation, image_size: int, random: np.random.Generator) -> NDArray[np.float32]:
    # Always eight numbers, as in 0.2.0, whatever is switched on: so one param never changes what another one draws.
    mirrored, upside_down, turn, _, _, _, scale, _ = random.uniform(-1, 1, 8)
    angle = 2 * math.pi * p.rotation * turn
    flip_x = math.copysign(1, mirrored) if "horizontal" in p.flip else 1.0
    flip_y = math.copysign(1, upside_down) if "vertical" in p.flip else 1.0
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = np.diag([flip_x, flip_y]) @ rotation @ np.diag([1 + p.zoom * scale, 1 + p.zoom * scale])
    center = np.full(2, (image_size - 1) / 2)
    offset = center - linear @ center
    (a, b), (c, d) = linear
    return np.array([a, b, offset[0], c, d, offset[1], 0, 0], np.float32)
