"""Labels for any files, as a stream: what does not decode is an answer with its error, and nothing is held whole."""

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from natsort import natsorted
from numpy.typing import NDArray

from smallset.networks import inference, models
from smallset.photos import decoding, images, lists
from smallset.pipeline import provenance
from smallset.pipeline.errors import SmallsetError
from smallset.sources import arrangements

NOTHING = np.zeros((1, 1, 3), np.uint8)  # stands for a photo that does not decode; what it gives is thrown away

Answer = tuple[str, NDArray[np.float64], str]  # path, probability of each class, and an error for which they are void


def find(name: str, stdin: Iterable[bytes]) -> Iterable[str]:
    """The paths that `name` stands for: for - those on `stdin`, one a line; for a folder its files; else itself."""
    if name == "-":
        return (os.fsdecode(line.rstrip(b"\r\n")) for line in stdin if line.strip())
    return below(Path(name)) if Path(name).is_dir() else [name]


def below(folder: Path) -> list[str]:
    """The files of a folder and of its folders in numeric order, without the hidden ones."""
    seen = natsorted(path.relative_to(folder).parts for path in arrangements.files_below(folder))
    if not seen:
        raise SmallsetError(f"{folder}: expected photos, found no file. Name a folder that has some.")
    return [str(folder.joinpath(*part)) for part in seen]


def load(paths: Iterable[str], size: int, batch: int) -> tf.data.Dataset:
    """Batches of paths (b,), pixels (b, size, size, 3), float32 RGB in 0..255, and errors (b,), "" where there is none.

    The pixels are those of images.load. Paths are taken as they are needed, and pass as bytes: not all are UTF-8.
    """
    spec = tf.TensorSpec((), tf.string)
    names = images.untuned(tf.data.Dataset.from_generator(lambda: map(os.fsencode, paths), output_signature=spec))

    def read(name: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels, error = tf.numpy_function(_decode, [name], (tf.uint8, tf.string), stateful=False)
        pixels = tf.image.resize(tf.ensure_shape(pixels, (None, None, 3)), (size, size))
        return name, tf.ensure_shape(pixels, (size, size, 3)), tf.ensure_shape(error, ())

    return names.map(read, num_parallel_calls=provenance.threads()).batch(batch).prefetch(2)


def _decode(name: bytes) -> tuple[NDArray[np.uint8], bytes]:
    path = os.fsdecode(name)
    try:
        return decoding.decode(path), b""
    except SmallsetError as error:
        return NOTHING, os.fsencode(str(error).removeprefix(f"{path}: "))


def answers(model: keras.Model, paths: Iterable[str], batch: int) -> Iterator[Answer]:
    """What the model says to each path, in their order, as soon as its batch is through."""
    step = inference.compiled(model)
    for names, pixels, errors in load(paths, model.input_shape[1], batch):
        rows = models.per_class(step(pixels.numpy()))
        for name, row, error in zip(names.numpy(), rows, errors.numpy(), strict=True):
            yield os.fsdecode(name), row, os.fsdecode(error)


def best(answer: Answer, classes: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The `top` likeliest labels and their probabilities, to six significant digits as in all tables."""
    _, row, error = answer
    order = [] if error else np.argsort(-row, kind="stable")[:top].tolist()
    return [(classes[label], float(f"{row[label]:.6g}")) for label in order]


def header(kind: str, classes: Sequence[str], top: int) -> str:
    """The line above those of `line`; JSON lines have none."""
    if kind == "csv":
        numbers = ["", *(f"_{rank}" for rank in range(2, top + 1))]
        return _csv(["file", *(name + number for number in numbers for name in ("label", "probability")), "error"])
    return _table([("label", "probability")] * top, "file", classes) if kind == "table" else ""


def line(kind: str, answer: Answer, classes: Sequence[str], top: int) -> str:
    """One answer as a line of csv, jsonl or a table, which has none for what does not decode."""
    file, _, error = answer
    labels = best(answer, classes, top)
    if kind == "csv":
        return _csv([file, *([cell for pair in labels for cell in pair] or [""] * 2 * top), error])
    if kind == "table":
        return _table([(label, f"{probability:.4f}") for label, probability in labels], file, classes) if labels else ""
    label, probability = labels[0] if labels else (None, None)
    row = {"file": file, "label": label, "probability": probability, "probabilities": dict(labels)}
    return json.dumps(row | {"error": error or None}, ensure_ascii=False) + "\n"


def _csv(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _table(labels: Sequence[tuple[str, str]], file: str, classes: Sequence[str]) -> str:
    width = max(map(_columns, ("label", *classes)))
    cells = (f"{label}{' ' * (width - _columns(label))}  {probability:>11}" for label, probability in labels)
    return "  ".join([*cells, file]) + "\n"


def _columns(text: str) -> int:
    """The columns that a terminal takes for it: two for a Chinese, Japanese or Korean character."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


def labelled(folder: Path, classes: tuple[str, ...]) -> lists.Photos:
    """The files of a folder of class folders, labelled in the model's order; some classes may be missing."""
    listed = arrangements.from_class_folders(folder)
    names = [unicodedata.normalize("NFC", name) for name in listed["label"]]
    if not names or not set(names) <= set(classes):
        raise SmallsetError(
            f"{folder}: expected class folders that the model knows, of {', '.join(classes)}; "
            f"found {', '.join(sorted(set(names))) or 'none'}. Rename the folders, or move those of other classes away."
        )
    labels = np.array([classes.index(name) for name in names], np.int64)
    return lists.Photos(folder, classes, tuple(listed["source"]), labels)


def decoded(found: lists.Photos, given: Sequence[Answer]) -> tuple[lists.Photos, NDArray[np.float64]]:
    """The photos that decode and their probabilities (n, classes); SmallsetError for a folder without any."""
    kept = np.flatnonzero([not error for _, _, error in given])
    if not len(kept):
        raise SmallsetError(f"{found.folder}: expected photos, found none that decodes.")
    return found.at(kept), np.stack([row for _, row, error in given if not error])
