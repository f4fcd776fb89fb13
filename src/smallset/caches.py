"""What a part of the network computed for every photo, on disk: float16 .npy files beside the row order they are in."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from smallset import photos
from smallset.errors import SmallsetError

Array = NDArray[np.float16]


@dataclass(frozen=True)
class Cache:
    """Memory-mapped values (n, h, w, c) or (views, n, h, w, c), float16, and the n photos that the rows belong to."""

    values: Array
    photos: photos.Photos

    @property
    def views(self) -> Array:
        """(views, n, h, w, c): one view where the values are of the photos themselves."""
        return self.values.reshape(-1, *self.values.shape[-4:])


def create(path: Path, found: photos.Photos, shape: tuple[int, ...], views: tuple[int, ...] = ()) -> Array:
    """A new .npy file of (*views, n, *shape), to be filled through memory; its rows are listed in a .csv beside it.

    The file's blocks are reserved at once: a disk that is too small is an OSError here, not a crash half-way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    index = pd.DataFrame({"file": found.files, "label": found.labels})
    index.to_csv(path.with_suffix(".csv"), index=False, lineterminator="\n")
    values: Array = np.lib.format.open_memmap(path, "w+", np.float16, (*views, len(index), *shape))
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values


def read(path: Path, found: photos.Photos) -> Cache:
    """Map the values at `path` and check that the rows are the photos of `found`, in that order."""
    try:
        index = pd.read_csv(path.with_suffix(".csv"))
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SmallsetError(f"{path}: not a whole .npy file ({error}). {_again(path)}") from None
    same = tuple(index.file) == found.files and np.array_equal(index.label, found.labels)
    if not same or values.shape[-4] != len(index):
        raise SmallsetError(
            f"{path}: expected a row for each of the {len(found.files)} photos of {found.folder}, in their order; "
            f"found {values.shape[-4]} rows for {len(index)} photos. {_again(path)}"
        )
    return Cache(values, found)


def _again(path: Path) -> str:
    return f"Run: dvc repro --force {path.parent.parent.name}"


def load(cache: Cache, batch: int, shuffle: int | None = None) -> tf.data.Dataset:
    """Batches of values (b, ...), float32, and labels (b, 1), float32.

    shuffle: the seed of an order that is new in each epoch, and of the view that each photo then shows. None keeps the
    order, first view.
    """
    bank = cache.views
    views, count, *shape = bank.shape
    rows = tf.data.Dataset.range(count)
    if shuffle is not None:
        rows = rows.shuffle(count, seed=shuffle)
    random = np.random.default_rng(shuffle)

    def gather(batch_rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = 0 if shuffle is None else random.integers(views, size=len(batch_rows))
        labels = cache.photos.labels[batch_rows, None]
        return bank[chosen, batch_rows].astype(np.float32), labels.astype(np.float32)

    def shaped(batch_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values, labels = tf.numpy_function(gather, [batch_rows], (tf.float32, tf.float32))
        return tf.ensure_shape(values, (None, *shape)), tf.ensure_shape(labels, (None, 1))

    return rows.batch(batch).map(shaped).prefetch(2)
