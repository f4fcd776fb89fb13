"""Photos as a stream of batches: decoded and resized as they are needed, never held whole."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset import photos


def load(found: photos.Photos, size: int, batch: int, shuffle: int | None = None) -> tf.data.Dataset:
    """Batches of pixels (b, size, size, 3), float32 RGB in 0..255, and labels (b, 1), float32.

    As keras.utils.image_dataset_from_directory (listing 8.9): bilinear, the aspect ratio given up. shuffle: the seed of
    an order that is new in each epoch; None keeps the order of `found`.
    """
    rows = tf.data.Dataset.from_tensor_slices((found.paths(), found.labels[:, None].astype(np.float32)))
    if shuffle is not None:
        rows = rows.shuffle(len(found.files), seed=shuffle)

    def read(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.ensure_shape(tf.numpy_function(_decode, [path], tf.uint8, stateful=False), (None, None, 3))
        return tf.ensure_shape(tf.image.resize(pixels, (size, size)), (size, size, 3)), label

    return rows.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(batch).prefetch(2)


def pixels(found: photos.Photos, size: int) -> NDArray[np.float32]:
    """Pixels of a few photos, held at once: (n, size, size, 3), float32 RGB in 0..255."""
    values, _ = next(iter(load(found, size, len(found.files))))
    return np.asarray(values)


def _decode(path: bytes) -> NDArray[np.uint8]:
    return photos.decode(path.decode())
