"""Run part of a network over photos or cached rows, once, piece by piece onto the disk."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np

from smallset.datasets.lists import Photos
from smallset.features import caches
from smallset.images import batches
from smallset.images.augmentation import View
from smallset.models import engine, model_file, precision
from smallset.models.engine import BATCH, Step
from smallset.pipeline import cluster, files, progress
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError

Views = Sequence[View | None]  # what a photo passes before the trunk: an augmentation, a mirror, or nothing
PLAIN: Views = (None,)
SHARD = 2 * BATCH  # rows that a worker of a cluster computes at a time; nine views of VGG16's are 290 MB


def from_photos(trunk: keras.Model, found: Photos, wanted: Mapping[Path, Views], checkpoint: Checkpoint) -> None:
    """Write trunk(view) for views of every photo to each file that is wanted, (n, ...) or (views, n, ...).

    Every photo is decoded once for all of them. A run that was killed goes on after its last batch, and ends with the
    same bits as one that was not: a view is drawn for its photo alone.
    """
    name = next(iter(wanted)).stem
    done = resumed(checkpoint, name, wanted)
    axes = {path: () if views == PLAIN else (len(views),) for path, views in wanted.items()}
    values = [caches.create(path, found, trunk.output_shape[1:], axis, not done) for path, axis in axes.items()]
    if done == len(found.files):
        return
    outputs = [view for mapped in values for view in mapped.reshape(-1, *mapped.shape[-4:])]
    views = [view for several in wanted.values() for view in several]
    if cluster.address():
        progressed = gathered(trunk, found, done, views, outputs, checkpoint, name)
    else:
        progressed = extract(engine.compiled(trunk), found, done, views, outputs, trunk.input_shape[1])
    for more in progressed:
        for written in values:
            written.flush()
        checkpoint.write(checkpoint.read() | {name: np.array(more)})


def resumed(checkpoint: Checkpoint, name: str, paths: Iterable[Path]) -> int:
    """The rows that an earlier run wrote to all paths; 0 without one."""
    return int(checkpoint.read().get(name, 0)) if all(path.is_file() for path in paths) else 0


def extract(
    step: Step, found: Photos, done: int, views: Views, outputs: Sequence[caches.Array], size: int
) -> Iterator[int]:
    """Write step(view) for each view to the rows of its output, (n, ...), from row `done` on; yield the rows so far."""
    rest = np.arange(done, len(found.files))
    with progress.bar(total=len(rest) * len(views), what=found.folder.name, unit=" photos") as bar:
        for pixels, _ in batches.load(found.at(rest), size, BATCH):
            rows = np.arange(done, done + len(pixels))
            for view, output in zip(views, outputs, strict=True):
                seen = view(pixels, found.at(rows)) if view else pixels
                output[rows] = _float16(step(np.asarray(seen)))
                bar.update(len(rows))
            done += len(rows)
            yield done


def gathered(
    trunk: keras.Model,
    found: Photos,
    done: int,
    views: Views,
    outputs: Sequence[caches.Array],
    checkpoint: Checkpoint,
    name: str,
) -> Iterator[int]:
    """As `extract`, by the workers of a cluster; each shard is a file beside the checkpoint until its rows are copied."""
    count, network = len(found.files), checkpoint.beside(f"{name}.trunk").path.with_suffix(".keras")
    items = [range(at, min(at + SHARD, count)) for at in range(done - done % SHARD, count, SHARD)]
    model_file.save(trunk, network)
    try:
        setup = partial(worker, precision.again(), network, found, views, checkpoint, name)
        with progress.bar(total=sum(map(len, items)) * len(views), what=found.folder.name, unit=" photos") as bar:
            for rows, _ in zip(items, cluster.results(setup, items, f"{name}, rows"), strict=True):
                shard = shard_of(checkpoint, name, rows)
                for output, values in zip(outputs, shard.read()["views"], strict=True):
                    output[rows.start : rows.stop] = values
                bar.update(len(rows) * len(views))
                yield rows.stop
                files.remove(shard.path)
    finally:
        files.remove(network)


def shard_of(checkpoint: Checkpoint, name: str, rows: range) -> Checkpoint:
    """Where a worker leaves what it has computed for these rows."""
    return checkpoint.beside(f"{name}.{rows.start:08}")


def worker(
    prepare: Callable[[], None], network: Path, found: Photos, views: Views, checkpoint: Checkpoint, name: str
) -> Callable[[range], None]:
    """In a process of the cluster: what writes the shard of some rows, unless an earlier run has."""
    prepare()
    trunk = model_file.load(network)
    step, shape = engine.compiled(trunk), trunk.output_shape[1:]

    def write(rows: range) -> None:
        shard, own = shard_of(checkpoint, name, rows), found.at(np.array(rows))
        if not shard.read():
            values = np.empty((len(views), len(rows), *shape), np.float16)
            for _ in extract(step, own, 0, views, [*values], trunk.input_shape[1]):
                pass
            shard.write({"views": values})

    return write


def from_cache(top: keras.Model, cache: caches.Cache, path: Path) -> None:
    """Write top(row) for every row of every view to `path`, in the same order."""
    output = caches.create(path, cache.photos, top.output_shape[1:], cache.values.shape[:-4])
    targets = output.reshape(-1, *output.shape[-4:])
    step, starts = engine.compiled(top), range(0, len(cache.photos.files), BATCH)
    with progress.bar(total=len(cache.views) * len(starts), what=path.stem, unit=f" x {BATCH} rows") as bar:
        for source, target in zip(cache.views, targets, strict=True):
            for at in starts:
                target[at : at + BATCH] = _float16(step(source[at : at + BATCH].astype(np.float32)))
                bar.update()


def _float16(values: engine.Array) -> caches.Array:
    """float16 holds up to 65,504; VGG16's activations reach a few thousand.

    SmallsetError where a value is larger or no number: of the wrong weights, most often.
    """
    narrow: caches.Array = values.astype(np.float16)
    if not np.isfinite(narrow).all():
        raise SmallsetError(
            f"an output of the base is not finite in float16: it reaches {np.abs(values).max():.3g}, of "
            f"65,504. Are the weights those of this base? Set base.weights to imagenet or to a file of it."
        )
    return narrow
