"""The chapter's caches: what a part of a network computes for photos and for augmented views of them, as .npy files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.features.store import Array16, to_float16
from smallset.images import batches
from smallset.images.augmentation import View
from smallset.models import engine
from smallset.pipeline import files, progress
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError

COMPARED = 32  # validation photos, spread over the classes, for which a model on pixels is compared with the cache

Mapped = np.memmap[tuple[int, ...], np.dtype[np.float16]]
Pixels = NDArray[np.float32]
Views = Sequence[View | None]  # what happens to the pixels before the network: an augmentation, or nothing
PLAIN: Views = (None,)


@dataclass(frozen=True)
class Cache:
    """Values (n, h, w, c) or (views, n, h, w, c), float16 in a mapped file, and the n photos that they belong to."""

    values: Array16
    dataset: Dataset

    @property
    def views(self) -> Array16:
        """(views, n, h, w, c)."""
        return self.values.reshape(-1, *self.values.shape[-4:])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the photos, (n,)."""
        return self.dataset.labels


@dataclass(frozen=True)
class Data:
    """What the last part of a network is trained on, and the pixels (k, s, s, 3) of some validation photos."""

    train: Cache
    validation: Cache
    pixels: Pixels

    @property
    def checked(self) -> tuple[NDArray[np.int64], Pixels]:
        """The rows of these validation photos, (k,), and their pixels."""
        return self.validation.dataset.spread(len(self.pixels)), self.pixels


def data(train_folder: Path, photos_folder: Path, dataset: Dataset) -> Data:
    """The training rows in one folder, which may be views, and the validation rows and the pixels in another one."""
    train = read(train_folder / "train.npy", dataset.train)
    validation = read(photos_folder / "validation.npy", dataset.validation)
    return Data(train, validation, np.load(photos_folder / "pixels.npy", allow_pickle=False))


def read(path: Path, dataset: Dataset) -> Cache:
    """Map a cache; SmallsetError when it is damaged or does not have a row for each photo, in the same order."""
    try:
        digests = path.with_suffix(".txt").read_text().split()
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        rows = values.shape[-4]
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise SmallsetError(
            f"{path}: not a complete cache ({error}). Run: smallset check --fix, then: dvc repro"
        ) from None
    if digests != dataset.sha256 or rows != len(dataset):
        raise SmallsetError(
            f"{path}: expected rows of {len(dataset)} photos in the order of the table, found {rows} rows of other "
            f"photos or in another order. Run: smallset check --fix, then: dvc repro"
        )
    return Cache(values, dataset)


def load(cache: Cache, batch_size: int, seed: int | None = None, start: int = 0) -> tf.data.Dataset:
    """Batches of values (b, h, w, c) and labels (b, 1), float32.

    With a seed: endless passes from batch `start` on, each in a different order, with a random view of each row.
    Without: a single pass over the first view, in order.
    """
    bank = cache.views

    def read_rows(rows: NDArray[np.int64], number: int) -> NDArray[np.float32]:
        # The third number separates these draws from those of the orders.
        view = 0 if seed is None else np.random.default_rng([seed, number, 1]).integers(len(bank), size=len(rows))
        return bank[view, rows].astype(np.float32)

    return batches.gather(read_rows, bank.shape[2:], cache.labels, batch_size, seed, start)


def from_photos(network: keras.Model, dataset: Dataset, outputs: Mapping[Path, Views], checkpoint: Checkpoint) -> None:
    """Write network(view) for the views of every photo to each file: (n, ...) for PLAIN, else (views, n, ...).

    Each photo is decoded once for all files. A killed run continues after its last batch, with the same result.
    """
    name, size = next(iter(outputs)).stem, network.input_shape[1]
    complete = all(path.is_file() for path in outputs)
    start = int(checkpoint.read().get(name, 0)) if complete else 0
    shapes = {path: () if views == PLAIN else (len(views),) for path, views in outputs.items()}
    mapped = [_create(path, dataset, network.output_shape[1:], shape, start) for path, shape in shapes.items()]
    targets = [target for values in mapped for target in values.reshape(-1, *values.shape[-4:])]
    views = [view for several in outputs.values() for view in several]
    step, remaining = engine.compile_network(network), dataset.take(np.arange(start, len(dataset)))
    with progress.bar(total=len(remaining) * len(views), what=name, unit=" photos") as bar:
        for pixels, _ in batches.load(remaining, size, engine.BATCH) if len(remaining) else ():
            rows = np.arange(start, start + len(pixels))
            for view, target in zip(views, targets, strict=True):
                seen = view(pixels, dataset.take(rows)) if view else pixels
                target[rows] = to_float16(step(np.asarray(seen)))
                bar.update(len(rows))
            start += len(rows)
            for values in mapped:
                values.flush()
            checkpoint.write(checkpoint.read() | {name: np.array(start)})


def from_cache(network: keras.Model, cache: Cache, path: Path) -> None:
    """Write network(row) for every row of every view to a file, in the same order."""
    output = _create(path, cache.dataset, network.output_shape[1:], cache.values.shape[:-4], 0)
    targets, step = output.reshape(-1, *output.shape[-4:]), engine.compile_network(network)
    starts = [(view, row) for view in range(len(targets)) for row in range(0, len(cache.dataset), engine.BATCH)]
    for view, row in progress.bar(starts, what=path.stem, unit=f" x {engine.BATCH} rows"):
        rows = slice(row, row + engine.BATCH)
        targets[view, rows] = to_float16(step(cache.views[view, rows].astype(np.float32)))


def keep_pixels(folder: Path, validation: Dataset, image_size: int) -> None:
    """Write the pixels of some validation photos beside their cache, for `Data.checked`."""
    np.save(folder / "pixels.npy", batches.pixels(validation.take(validation.spread(COMPARED)), image_size))


def _create(path: Path, dataset: Dataset, shape: tuple[int, ...], views: tuple[int, ...], start: int) -> Mapped:
    """Open a .npy file (*views, n, *shape) that has `start` complete rows; one without any is created.

    The space is reserved at once, so that a full disk raises an OSError here, and not a crash later.
    """
    if start:
        return np.lib.format.open_memmap(path, "r+")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path.with_suffix(".txt"), "\n".join(dataset.sha256) + "\n")
    values: Mapped = np.lib.format.open_memmap(path, "w+", np.float16, (*views, len(dataset), *shape))
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values
