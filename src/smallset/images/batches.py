"""Photos as a stream of batches, decoded and resized when they are needed."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.images import augmentation, decoding
from smallset.images.augmentation import Photos
from smallset.pipeline import params, provenance

Augment = params.Augmentation | None


def passing(count: int, batch_size: int) -> int:
    """The number of batches in one pass over `count` rows."""
    return -(-count // batch_size)


def rows(number: int, count: int, batch_size: int, seed: int | None) -> NDArray[np.int64]:
    """The rows (b,) of batch `number`, from 0, in an endless sequence of passes over `count` rows.

    With a seed each pass has its own order, otherwise the order of the rows. The last batch of a pass may be smaller.
    The result depends on the arguments alone, so an interrupted training continues at any batch.
    """
    epoch, position = divmod(number, passing(count, batch_size))
    order = np.arange(count) if seed is None else np.random.default_rng([seed, epoch]).permutation(count)
    return order[position * batch_size : (position + 1) * batch_size]


def numbers(count: int, batch_size: int, seed: int | None, start: int) -> tf.data.Dataset:
    """The numbers of the batches of `rows`: endless from `start` with a seed, otherwise those of a single pass."""
    single = tf.data.Dataset.range(passing(count, batch_size))
    options = tf.data.Options()
    options.autotune.enabled = False  # or the end of each pass waits for it, for up to a minute
    return (single if seed is None else tf.data.Dataset.counter(start)).with_options(options)


def load(
    photos: Photos, image_size: int, batch_size: int, seed: int | None = None, start: int = 0, augment: Augment = None
) -> tf.data.Dataset:
    """Batches of pixels (b, image_size, image_size, 3), float32 RGB in 0..255, and of labels (b, 1), float32.

    Photos are resized as by `keras.utils.image_dataset_from_directory` (listing 8.9): bilinear, to a square.

    Args:
        seed: Endless passes, each in another order, from batch `start` on; None: one pass in the order of `photos`.
        augment: With a seed, random views of the photos, different ones in each pass.
    """
    count = len(photos.labels)
    augment = augment if seed is not None else None
    batches = numbers(count, batch_size, seed, start)
    examples = batches.map(_choose_rows(photos, image_size, batch_size, seed, augment)).unbatch()
    examples = examples.map(_read_photo(photos, image_size, augment), num_parallel_calls=provenance.threads())
    sizes = [len(rows(start + index, count, batch_size, None)) for index in range(passing(count, batch_size))]
    cardinality = tf.data.experimental.assert_cardinality(batches.cardinality())  # or Keras warns at the end of a pass
    return examples.batch(1).rebatch(sizes).apply(cardinality).prefetch(2)


def gather(
    read: Callable[[NDArray[np.int64], int], NDArray[np.float32]],
    shape: tuple[int, ...],
    labels: NDArray[np.int64],
    batch_size: int,
    seed: int | None = None,
    start: int = 0,
) -> tf.data.Dataset:
    """The same batches for values in memory: read(rows, number) returns those of batch `number`, (b, *shape)."""

    def read_batch(number: np.int64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        batch = rows(int(number), len(labels), batch_size, seed)
        return read(batch, int(number)), labels[batch, None].astype(np.float32)

    def read_tensors(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values, targets = tf.numpy_function(read_batch, [number], (tf.float32, tf.float32), stateful=False)
        return tf.ensure_shape(values, (None, *shape)), tf.ensure_shape(targets, (None, 1))

    batches = numbers(len(labels), batch_size, seed, start)
    return batches.map(read_tensors, num_parallel_calls=provenance.threads()).prefetch(2)


def pixels(photos: Photos, image_size: int) -> NDArray[np.float32]:
    """The pixels of a few photos in memory: (n, image_size, image_size, 3), float32 RGB in 0..255."""
    values, _ = next(iter(load(photos, image_size, len(photos.labels))))
    return np.asarray(values)


def _choose_rows(
    photos: Photos, image_size: int, batch_size: int, seed: int | None, augment: Augment
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function for tf.data from the number of a batch to its rows (b,) and transforms (b, 8)."""
    count = len(photos.labels)

    def choose(number: np.int64) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        batch, epoch = rows(int(number), count, batch_size, seed), int(number) // passing(count, batch_size)
        if augment is None or seed is None:
            return batch, np.zeros((len(batch), 8), np.float32)
        return batch, augmentation.draw_transforms(augment, image_size, seed, epoch, photos.take(batch))

    def choose_tensors(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch, transforms = tf.numpy_function(choose, [number], (tf.int64, tf.float32), stateful=False)
        return tf.ensure_shape(batch, (None,)), tf.ensure_shape(transforms, (None, 8))

    return choose_tensors


def _read_photo(
    photos: Photos, image_size: int, augment: Augment
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function for tf.data from a row and a transform to pixels (image_size, image_size, 3) and the label (1,)."""
    paths = tf.constant([str(path) for path in photos.paths])
    labels = tf.constant(photos.labels[:, None], tf.float32)

    def read(row: tf.Tensor, transform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        decoded = tf.numpy_function(lambda path: decoding.decode(path.decode()), [paths[row]], tf.uint8, stateful=False)
        resized = tf.image.resize(tf.ensure_shape(decoded, (None, None, 3)), (image_size, image_size))
        if augment is not None:
            resized = augmentation.transform(resized[None], transform[None], augment.fill)[0]
        return tf.ensure_shape(resized, (image_size, image_size, 3)), labels[row]

    return read
