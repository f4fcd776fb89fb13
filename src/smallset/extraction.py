"""Run part of a network over photos or cached rows, once, piece by piece onto the disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from smallset import caches, images, photos
from smallset.errors import SmallsetError

BATCH = 32  # photos; moves speed and memory, no result

Step = Callable[[tf.Tensor], tf.Tensor]


def from_photos(trunk: keras.Model, found: photos.Photos, plain: Path) -> None:
    """Write trunk(photo) for every photo to `plain`, (n, ...)."""
    output = caches.create(plain, found, trunk.output_shape[1:])
    extract([compiled(trunk)], images.load(found, trunk.input_shape[1], BATCH), [output])


def from_photos_and_views(
    trunk: keras.Model, augment: keras.Model, found: photos.Photos, plain: Path, bank: Path, views: int
) -> None:
    """The same, and trunk(augment(photo)), each time another draw, to `bank`, (views, n, ...): one decoding for all."""
    shape = trunk.output_shape[1:]
    outputs = [caches.create(plain, found, shape), *caches.create(bank, found, shape, (views,))]
    steps = [compiled(trunk), *[compiled(augment, trunk)] * views]
    extract(steps, images.load(found, trunk.input_shape[1], BATCH), outputs)


def from_cache(top: keras.Model, cache: caches.Cache, path: Path) -> None:
    """Write top(row) for every row of every view to `path`, in the same order."""
    output = caches.create(path, cache.photos, top.output_shape[1:], cache.values.shape[:-4])
    for source, target in zip(cache.views, output.reshape(-1, *output.shape[-4:]), strict=True):
        starts = tf.data.Dataset.range(0, len(source), BATCH)
        extract([compiled(top)], starts.map(lambda start, source=source: (_rows(source, start),)).prefetch(2), [target])


def compiled(*parts: keras.Model) -> Step:
    """One graph through all parts, for any batch size. A part that draws at random, an augmentation, does so."""

    @tf.function(input_signature=[tf.TensorSpec((None, *parts[0].input_shape[1:]), tf.float32)])
    def step(x: tf.Tensor) -> tf.Tensor:
        for part in parts:
            x = part(x, training=part.name == "augmentation")
        return x

    return step


def extract(steps: Sequence[Step], batches: tf.data.Dataset, outputs: Sequence[caches.Array]) -> None:
    """Write steps[i](batch) to the rows of outputs[i], (n, ...) float16, batch by batch."""
    done = 0
    with tqdm(total=len(outputs[0]) * len(steps), unit=" photos", disable=None) as bar:
        for batch, *_ in batches:
            for step, output in zip(steps, outputs, strict=True):
                output[done : done + len(batch)] = _float16(step(batch))
                bar.update(len(batch))
            done += len(batch)


def _rows(values: caches.Array, at: tf.Tensor) -> tf.Tensor:
    read = tf.numpy_function(lambda start: values[start : start + BATCH].astype(np.float32), [at], tf.float32)
    return tf.ensure_shape(read, (None, *values.shape[1:]))


def _float16(values: tf.Tensor) -> caches.Array:
    """float16 holds up to 65,504; VGG16's activations reach a few thousand."""
    narrow: caches.Array = values.numpy().astype(np.float16)
    if not np.isfinite(narrow).all():
        raise SmallsetError("an activation is too large for float16: are these VGG16's weights, and pixels in 0..255?")
    return narrow
