"""Photos as a stream of batches: decoded and resized as they are needed, never held whole."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.datasets.lists import Photos
from smallset.images import augmentation, decoding
from smallset.pipeline import params, provenance

Choose = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
Read = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def rows(number: int, count: int, batch: int, seed: int | None) -> NDArray[np.int64]:
    """Batch `number`, from 0, of an endless sequence of passes over `count` rows: (b,), where b is at most `batch`.

    Each pass has an order of its own, or without a seed that of the rows, and ends with what is left. Nothing else
    plays a part, so that training can go on at any batch as if it had never been interrupted.
    """
    turn, at = divmod(number, passing(count, batch))
    order = np.arange(count) if seed is None else np.random.default_rng([seed, turn]).permutation(count)
    return order[at * batch : (at + 1) * batch]


def passing(count: int, batch: int) -> int:
    """How many batches a pass over `count` rows has."""
    return -(-count // batch)


def numbers(count: int, batch: int, seed: int | None, start: int) -> tf.data.Dataset:
    """The numbers () of the batches of `rows`: endless from `start` with a seed, without one those of a single pass."""
    return untuned(tf.data.Dataset.range(passing(count, batch)) if seed is None else tf.data.Dataset.counter(start))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Without tf.data's autotuning, here and in what follows: the end of a pass waits for it, up to a minute."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def load(
    found: Photos,
    size: int,
    batch: int,
    seed: int | None = None,
    start: int = 0,
    augment: params.Augmentation | None = None,
) -> tf.data.Dataset:
    """Batches of pixels (b, size, size, 3), float32 RGB in 0..255, and labels (b, 1), float32.

    As keras.utils.image_dataset_from_directory (listing 8.9): bilinear, the aspect ratio given up. With a seed,
    endless passes, each in another order and, to augment, in other views, from batch `start` on; without, one pass in
    the order of `found`, as the photos are.
    """
    turned = augment if seed is not None else None
    batches = numbers(len(found.files), batch, seed, start)
    chosen = batches.map(chooser(found, size, batch, seed, turned)).unbatch()
    singles = chosen.map(reader(found, size, turned), num_parallel_calls=provenance.threads())
    places = range(start, start + passing(len(found.files), batch))
    sizes = [len(rows(number, len(found.files), batch, None)) for number in places]
    known = tf.data.experimental.assert_cardinality(batches.cardinality())  # or Keras warns of the end
    return singles.batch(1).rebatch(sizes).apply(known).prefetch(2)


def chooser(found: Photos, size: int, batch: int, seed: int | None, augment: params.Augmentation | None) -> Choose:
    """A function, for tf.data, of a batch's number: its rows (b,), and for each its transform (b, 8), if any."""
    count = len(found.files)

    def choose(number: np.int64) -> tuple[NDArray[np.int64], augmentation.Transforms]:
        chosen = rows(int(number), count, batch, seed)
        if augment is None or seed is None:
            return chosen, np.zeros((len(chosen), 8), np.float32)
        return chosen, augmentation.drawn(augment, size, seed, int(number) // passing(count, batch), found.at(chosen))

    def shaped(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen, transforms = tf.numpy_function(choose, [number], (tf.int64, tf.float32), stateful=False)
        return tf.ensure_shape(chosen, (None,)), tf.ensure_shape(transforms, (None, 8))

    return shaped


def reader(found: Photos, size: int, augment: params.Augmentation | None) -> Read:
    """A function, for tf.data, of a row's number and transform: its pixels (size, size, 3) and label (1,), float32."""
    paths, labels = tf.constant(found.paths()), tf.constant(found.labels[:, None], tf.float32)

    def read(row: tf.Tensor, transform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.numpy_function(_decode, [paths[row]], tf.uint8, stateful=False)
        resized = tf.image.resize(tf.ensure_shape(pixels, (None, None, 3)), (size, size))
        if augment is not None:
            resized = augmentation.moved(resized[None], transform[None], augment.fill)[0]
        return tf.ensure_shape(resized, (size, size, 3)), labels[row]

    return read


def pixels(found: Photos, size: int) -> NDArray[np.float32]:
    """Pixels of a few photos, held at once: (n, size, size, 3), float32 RGB in 0..255."""
    values, _ = next(iter(load(found, size, len(found.files))))
    return np.asarray(values)


def _decode(path: bytes) -> NDArray[np.uint8]:
    return decoding.decode(path.decode())
