"""Resize photos without TensorFlow, to the same bits."""

import numpy as np
from numpy.typing import NDArray


def resize(pixels: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Pixels (height, width, 3) as a square (size, size, 3), as `tf.image.resize` computes it: bilinear.

    The result has the same bits, because each operation is the same and in float32.
    """
    (top, bottom, y), (left, right, x) = (_find_neighbors(length, size) for length in pixels.shape[:2])
    x, y = x[:, None], y[:, None, None]
    above, below = (
        _blend(pixels[np.ix_(row, left)].astype(np.float32), pixels[np.ix_(row, right)].astype(np.float32), x)
        for row in (top, bottom)
    )
    return _blend(above, below, y)


def _find_neighbors(length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The pixels before and after each of `size` places on a side of `length` pixels, and the weight of the latter."""
    half = np.float32(0.5)
    places = (np.arange(size, dtype=np.float32) + half) * (np.float32(length) / np.float32(size)) - half
    before, after = np.floor(places), np.minimum(np.ceil(places), length - 1)
    return np.clip(before, 0, after).astype(np.int64), after.astype(np.int64), places - before


def _blend(first: NDArray[np.float32], second: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return first + (second - first) * weight
