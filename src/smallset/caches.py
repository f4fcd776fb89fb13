"""What a part of the network computed for every photo, on disk: float16 .npy files beside the row order they are in."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from smallset import images, photos
from smallset.errors import SmallsetError

Array = NDArray[np.float16]
Mapped = np.memmap[tuple[int, ...], np.dtype[np.float16]]


@dataclass(frozen=True)
class Cache:
    """Memory-mapped values (n, h, w, c) or (views, n, h, w, c), float16, and the n photos that the rows belong to."""

    values: Array
    photos: photos.Photos

    @property
    def views(self) -> Array:
        """(views, n, h, w, c): one view where the values are of the photos themselves."""
        return self.values.reshape(-1, *self.values.shape[-4:])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the rows, (n,)."""
        return self.photos.labels


def create(
    path: Path, found: photos.Photos, shape: tuple[int, ...], views: tuple[int, ...] = (), new: bool = True
) -> Mapped:
    """A .npy file of (*views, n, *shape), to be filled through memory; its rows are listed in a .csv beside it.

    The file's blocks are reserved at once: a disk that is too small is an OSError here, not a crash half-way. A file
    that is not to be new keeps what it has.
    """
    if not new:
        return np.lib.format.open_memmap(path, "r+")
    path.parent.mkdir(parents=True, exist_ok=True)
    index = pd.DataFrame({"file": found.files, "label": found.labels})
    index.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
    values: Mapped = np.lib.format.open_memmap(path, "w+", np.float16, (*views, len(index), *shape))
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values


def read(path: Path, found: photos.Photos) -> Cache:
    """Map the values at `path` and check that the rows are the photos of `found`, in that order."""
    try:
        index = pd.read_csv(path.with_suffix(".csv"))
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        same = tuple(index.file) == found.files and np.array_equal(index.label, found.labels)
        count = values.shape[-4]
    except (ValueError, EOFError, AttributeError, IndexError) as error:
        raise SmallsetError(f"{path}: not a whole .npy file ({error}). {_again(path)}") from None
    if not same or count != len(index):
        raise SmallsetError(
            f"{path}: expected a row for each of the {len(found.files)} photos of {found.folder}, in their order; "
            f"found {count} rows for {len(index)} photos. {_again(path)}"
        )
    return Cache(values, found)


def _again(path: Path) -> str:
    return f"Run: dvc repro --force {path.parent.parent.name}"


def load(cache: Cache, batch: int, seed: int | None = None, start: int = 0) -> tf.data.Dataset:
    """Batches of values (b, ...), float32, and labels (b, 1), float32.

    With a seed, endless passes from batch `start` on, each in another order, each row in a view that is drawn anew;
    without, one pass in order over the first view.
    """
    bank = cache.views
    views, count, *shape = bank.shape

    def gather(number: np.int64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = images.rows(int(number), count, batch, seed)
        # 1: a key apart from those of the orders.
        shown = 0 if seed is None else np.random.default_rng([seed, int(number), 1]).integers(views, size=len(rows))
        return bank[shown, rows].astype(np.float32), cache.labels[rows, None].astype(np.float32)

    def shaped(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values, labels = tf.numpy_function(gather, [number], (tf.float32, tf.float32), stateful=False)
        return tf.ensure_shape(values, (None, *shape)), tf.ensure_shape(labels, (None, 1))

    return images.numbers(count, batch, seed, start).map(shaped).prefetch(2)
