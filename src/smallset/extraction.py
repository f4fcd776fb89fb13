"""Run part of a network over photos or cached rows, once, piece by piece onto the disk."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from smallset import caches, files, images, photos
from smallset.errors import SmallsetError

BATCH = 32  # photos; moves speed and memory, no result

Step = Callable[[tf.Tensor], tf.Tensor]
Views = Sequence[keras.Model | None]  # what a photo passes before the trunk: an augmentation, a mirror, or nothing
PLAIN: Views = (None,)


def from_photos(trunk: keras.Model, found: photos.Photos, wanted: Mapping[Path, Views], backup: files.Backup) -> None:
    """Write trunk(view) for views of every photo to each file that is wanted, (n, ...) or (views, n, ...).

    Every photo is decoded once for all of them. A run that was killed goes on after its last batch, and ends with the
    same bits as one that was not.
    """
    views = [view for several in wanted.values() for view in several]
    random = {id(variable): variable for view in views if view for variable in view.variables}.values()
    done = resumed(backup, list(wanted), random)
    axes = {path: () if several == PLAIN else (len(several),) for path, several in wanted.items()}
    values = [caches.create(path, found, trunk.output_shape[1:], axis, not done) for path, axis in axes.items()]
    if done == len(found.files):
        return
    steps = {view: compiled(view, trunk) if view else compiled(trunk) for view in views}
    outputs = [view[done:] for mapped in values for view in mapped.reshape(-1, *mapped.shape[-4:])]
    batches = images.load(found.at(np.arange(done, len(found.files))), trunk.input_shape[1], BATCH)
    for more in extract([steps[view] for view in views], batches, outputs):
        note(backup, next(iter(wanted)), done + more, values, random)


def resumed(backup: files.Backup, paths: Sequence[Path], random: Collection[keras.Variable]) -> int:
    """The rows that an earlier run wrote to all paths, and its state of random generators put back; 0 without one."""
    saved, name = backup.read(), paths[0].stem
    if name not in saved or not all(path.is_file() for path in paths):
        return 0
    for number, variable in enumerate(random):
        variable.assign(saved[f"{name}.{number}"])
    return int(saved[name])


def note(
    backup: files.Backup, path: Path, done: int, values: Sequence[caches.Mapped], random: Collection[keras.Variable]
) -> None:
    """Write down how many rows are on the disk, and the state of random generators after them."""
    for written in values:
        written.flush()
    states = {f"{path.stem}.{number}": variable.numpy() for number, variable in enumerate(random)}
    backup.write(backup.read() | {path.stem: np.array(done)} | states)


def from_cache(top: keras.Model, cache: caches.Cache, path: Path) -> None:
    """Write top(row) for every row of every view to `path`, in the same order."""
    output = caches.create(path, cache.photos, top.output_shape[1:], cache.values.shape[:-4])
    for source, target in zip(cache.views, output.reshape(-1, *output.shape[-4:]), strict=True):
        numbers = images.numbers(len(source), BATCH, None, 0)
        batches = numbers.map(lambda number, source=source: (_rows(source, number * BATCH),)).prefetch(2)
        for _ in extract([compiled(top)], batches, [target]):
            pass


def compiled(*parts: keras.Model) -> Step:
    """One graph through all parts, for any batch size. A part that draws at random, an augmentation, does so."""

    @tf.function(input_signature=[tf.TensorSpec((None, *parts[0].input_shape[1:]), tf.float32)])
    def step(x: tf.Tensor) -> tf.Tensor:
        for part in parts:
            x = part(x, training=part.name == "augmentation")
        return x

    return step


def extract(steps: Sequence[Step], batches: tf.data.Dataset, outputs: Sequence[caches.Array]) -> Iterator[int]:
    """Write steps[i](batch) to the rows of outputs[i], (n, ...) float16; after each batch yield the rows so far."""
    done = 0
    with tqdm(total=len(outputs[0]) * len(steps), unit=" photos", disable=None) as bar:
        for batch, *_ in batches:
            for step, output in zip(steps, outputs, strict=True):
                output[done : done + len(batch)] = _float16(step(batch))
                bar.update(len(batch))
            done += len(batch)
            yield done


def _rows(values: caches.Array, at: tf.Tensor) -> tf.Tensor:
    read = tf.numpy_function(lambda start: values[start : start + BATCH].astype(np.float32), [at], tf.float32)
    return tf.ensure_shape(read, (None, *values.shape[1:]))


def _float16(values: tf.Tensor) -> caches.Array:
    """float16 holds up to 65,504; VGG16's activations reach a few thousand."""
    narrow: caches.Array = values.numpy().astype(np.float16)
    if not np.isfinite(narrow).all():
        raise SmallsetError("an activation is too large for float16: are these VGG16's weights, and pixels in 0..255?")
    return narrow
