"""What a part of the network computed for every photo, on disk: float16 .npy files beside the row order they are in."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.datasets import lists
from smallset.images import batches
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

Array = NDArray[np.float16]
Mapped = np.memmap[tuple[int, ...], np.dtype[np.float16]]
Pixels = NDArray[np.float32]

AGAIN = "Run: smallset check --fix, then: dvc repro"  # a new run alone would link what is damaged in DVC's cache
CHECKED = 32  # photos, spread over the classes, for which the model on pixels and on the cache are compared


@dataclass(frozen=True)
class Cache:
    """Memory-mapped values (n, h, w, c) or (views, n, h, w, c), float16, and the n photos that the rows belong to."""

    values: Array
    photos: lists.Photos

    @property
    def views(self) -> Array:
        """(views, n, h, w, c): one view where the values are of the photos themselves."""
        return self.values.reshape(-1, *self.values.shape[-4:])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the rows, (n,)."""
        return self.photos.labels


@dataclass(frozen=True)
class Data:
    """What a part of a network is trained on."""

    train: Cache
    validation: Cache
    pixels: Pixels  # of a few validation photos, evenly spaced: (k, size, size, 3)

    @property
    def checked(self) -> tuple[NDArray[np.int64], Pixels]:
        """Rows of the validation photos, (k,), and their pixels."""
        return self.validation.photos.spread(len(self.pixels)), self.pixels


def create(
    path: Path, found: lists.Photos, shape: tuple[int, ...], views: tuple[int, ...] = (), new: bool = True
) -> Mapped:
    """A .npy file of (*views, n, *shape), to be filled through memory; its rows are listed in a .csv beside it.

    The file's blocks are reserved at once: a disk that is too small is an OSError here, not a crash half-way. A file
    that is not to be new keeps what it has.
    """
    if not new:
        return np.lib.format.open_memmap(path, "r+")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(path.with_suffix(".csv"), found.table())
    values: Mapped = np.lib.format.open_memmap(path, "w+", np.float16, (*views, len(found.files), *shape))
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values


def read(path: Path, found: lists.Photos) -> Cache:
    """Map the values at `path` and check that the rows are the photos of `found`, in that order."""
    rows = lists.rows(path.with_suffix(".csv"))
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        count = values.shape[-4]
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise SmallsetError(f"{path}: not a whole .npy file ({error}). {AGAIN}") from None
    if not rows.equals(found.table()) or count != len(rows):
        raise SmallsetError(
            f"{path}: expected a row for each of the {len(found.files)} photos of {found.folder}, in their order; "
            f"found {count} rows for {len(rows)} photos. {AGAIN}"
        )
    return Cache(values, found)


def keep_pixels(folder: Path, found: lists.Photos, size: int) -> None:
    """Write the pixels of a few photos beside the cache, by which a model is checked against it later."""
    np.save(folder / "pixels.npy", batches.pixels(found.at(found.spread(CHECKED)), size))


def data(views: Path, photos: Path, train: lists.Photos, validation: lists.Photos) -> Data:
    """The training photos' rows in the folder `views`, and in `photos` the validation photos' and some pixels."""
    known = read(photos / "validation.npy", validation)
    return Data(read(views / "train.npy", train), known, np.load(photos / "pixels.npy", allow_pickle=False))


def load(cache: Cache, batch: int, seed: int | None = None, start: int = 0) -> tf.data.Dataset:
    """Batches of values (b, ...), float32, and labels (b, 1), float32.

    With a seed, endless passes from batch `start` on, each in another order, each row in a view that is drawn anew;
    without, one pass in order over the first view.
    """
    bank = cache.views
    views, count, *shape = bank.shape

    def gather(number: np.int64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = batches.rows(int(number), count, batch, seed)
        # 1: a key apart from those of the orders.
        shown = 0 if seed is None else np.random.default_rng([seed, int(number), 1]).integers(views, size=len(rows))
        return bank[shown, rows].astype(np.float32), cache.labels[rows, None].astype(np.float32)

    def shaped(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values, labels = tf.numpy_function(gather, [number], (tf.float32, tf.float32), stateful=False)
        return tf.ensure_shape(values, (None, *shape)), tf.ensure_shape(labels, (None, 1))

    return batches.numbers(count, batch, seed, start).map(shaped).prefetch(2)
