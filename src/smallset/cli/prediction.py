"""Labels for any files, as a stream: what does not decode is an answer with its error, and nothing is held whole."""

import codecs
import csv
import io
import itertools
import json
import os
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.datasets import folders, lists, scan
from smallset.images import batches, decoding
from smallset.models.limits import RATE, Limits, Said, answering
from smallset.pipeline import provenance
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import visible

NOTHING = np.zeros((1, 1, 3), np.uint8)  # stands for a photo that does not decode; what it gives is thrown away

NONE: Mapping[str, str] = MappingProxyType({})


class Answer(NamedTuple):
    """What a model says to a photo; with an error, the rest is void."""

    path: str
    probability: NDArray[np.float64]  # (classes,)
    error: str = ""
    unlikeness: float = np.nan  # NaN where the model's file does not tell
    coordinates: NDArray[np.float64] = np.zeros(0)  # (k,) in the directions that the model knows


Ask = Callable[[Iterable[str], Mapping[str, str]], Iterator[Answer]]


@dataclass(frozen=True)
class Asked:
    """What answers are to tell beside the labels, of a model that knows its limits; of another one nothing."""

    limits: Limits | None = None
    rate: float = RATE
    coverage: float | None = None

    def columns(self) -> list[str]:
        """The names of what `told` gives."""
        sets = ["possible"] if self.coverage is not None else []
        return ["unlike", "unlikeness", *sets] if self.limits else []

    def told(self, answer: Answer, classes: Sequence[str]) -> dict[str, object]:
        """unlike: whether the photo is; unlikeness; with a coverage possible: the labels that stay possible."""
        if self.limits is None or answer.error:
            return dict.fromkeys(self.columns())
        unlike = bool(self.limits.unlike(np.array(answer.unlikeness), self.rate))
        told: dict[str, object] = {"unlike": unlike, "unlikeness": float(f"{answer.unlikeness:.6g}")}
        return told | ({"possible": self.possible(answer, classes)} if self.coverage is not None else {})

    def possible(self, answer: Answer, classes: Sequence[str]) -> list[str]:
        """The labels that stay possible, the likeliest first."""
        if self.limits is None or self.coverage is None:
            return []
        stays = self.limits.possible(answer.probability, self.coverage)
        return [classes[label] for label in np.argsort(-answer.probability, kind="stable") if stays[label]]


PLAIN = Asked()


def find_all(names: Sequence[str], stdin: Iterable[bytes] = ()) -> tuple[Iterable[str], dict[str, str], list[str]]:
    """What `find` gives for all of them. Paths on `stdin` are taken as they are needed."""
    each = [find(name, stdin) for name in names]
    paths = itertools.chain.from_iterable(paths for paths, _, _ in each)
    reasons = {path: reason for _, broken, _ in each for path, reason in broken.items()}
    return paths if "-" in names else list(paths), reasons, [line for _, _, said in each for line in said]


def find(name: str, stdin: Iterable[bytes]) -> tuple[Iterable[str], dict[str, str], list[str]]:
    """The paths that `name` stands for: for - those on `stdin`, one a line; for a folder its photos; else itself.

    Of a folder come as well, with their reasons, those paths that are not to be read, and a sentence about the rest.
    """
    if name == "-":
        return (os.fsdecode(line) for line in listed(stdin) if line.strip()), {}, []
    if not Path(name).is_dir():
        return [name], {}, []
    found = scan.walk(Path(name))
    return below(found), unread(found), [f"{name}: {line}" for line in scan.not_counted(found.others)]


def listed(stdin: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without their ends, and without the mark by which Windows begins a text."""
    for number, line in enumerate(stdin):
        yield (line if number else line.removeprefix(codecs.BOM_UTF8)).rstrip(b"\r\n")


def below(found: scan.Walk) -> list[str]:
    """The photos of a folder and of its folders, and those that are not to be read, in numeric order."""
    if not found.photos:
        raise found.none()
    return [str(found.folder / path) for path in scan.ordered([*found.photos, *found.broken])]


def unread(found: scan.Walk) -> dict[str, str]:
    """Those that are not to be read, and why."""
    return {str(found.folder / path): reason for path, reason in found.broken.items()}


def load(paths: Iterable[str], size: int, batch: int, reasons: Mapping[str, str] = NONE) -> tf.data.Dataset:
    """Batches of paths (b,), pixels (b, size, size, 3), float32 RGB in 0..255, and errors (b,), "" where there is none.

    The pixels are those of batches.load. Paths are taken as they are needed, and pass as bytes: not all are UTF-8. One
    that has a reason is not opened: the reason is its error.
    """
    spec = tf.TensorSpec((), tf.string)
    decode = partial(_decode, reasons)
    names = batches.untuned(tf.data.Dataset.from_generator(lambda: map(os.fsencode, paths), output_signature=spec))

    def read(name: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels, error = tf.numpy_function(decode, [name], (tf.uint8, tf.string), stateful=False)
        pixels = tf.image.resize(tf.ensure_shape(pixels, (None, None, 3)), (size, size))
        return name, tf.ensure_shape(pixels, (size, size, 3)), tf.ensure_shape(error, ())

    return names.map(read, num_parallel_calls=provenance.threads()).batch(batch).prefetch(2)


def _decode(reasons: Mapping[str, str], name: bytes) -> tuple[NDArray[np.uint8], bytes]:
    path = os.fsdecode(name)
    if path in reasons:
        return NOTHING, os.fsencode(reasons[path])
    try:
        return decoding.decode(path), b""
    except SmallsetError as error:
        return NOTHING, os.fsencode(str(error).removeprefix(f"{path}: "))


def answers(
    model: keras.Model,
    paths: Iterable[str],
    batch: int,
    reasons: Mapping[str, str] = NONE,
    limits: Limits | None = None,
) -> Iterator[Answer]:
    """What the model says to each path, in their order, as soon as its batch is through; `reasons` as in `load`."""
    return asking(model, batch, limits)(paths, reasons)


def asking(model: keras.Model, batch: int, limits: Limits | None = None) -> Ask:
    """What answers for paths and reasons, as often as it is called, of a model that is compiled once."""
    step, classes = answering(model, limits), max(2, model.output_shape[1])

    def ask(paths: Iterable[str], reasons: Mapping[str, str]) -> Iterator[Answer]:
        for names, pixels, errors in load(paths, model.input_shape[1], batch, reasons):
            rows = step(pixels.numpy())
            for name, row, error in zip(names.numpy(), rows, errors.numpy(), strict=True):
                rest = row[classes], row[classes + 1 :]
                yield Answer(os.fsdecode(name), row[:classes], os.fsdecode(error), *rest)

    return ask


def best(answer: Answer, classes: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The `top` likeliest labels and their probabilities, to six significant digits as in all tables."""
    row = answer.probability
    order = [] if answer.error else np.argsort(-row, kind="stable")[:top].tolist()
    return [(classes[label], float(f"{row[label]:.6g}")) for label in order]


def header(kind: str, classes: Sequence[str], top: int, asked: Asked = PLAIN) -> str:
    """The line above those of `line`; JSON lines have none."""
    if kind == "csv":
        numbers = ["", *(f"_{rank}" for rank in range(2, top + 1))]
        labels = [name + number for number in numbers for name in ("label", "probability")]
        return row_of_csv(["file", *labels, *asked.columns(), "error"])
    return _table([("label", "probability")] * top, asked.columns(), "file", classes) if kind == "table" else ""


def line(kind: str, answer: Answer, classes: Sequence[str], top: int, asked: Asked = PLAIN) -> str:
    """One answer as a line of csv, jsonl or a table, which has none for what does not decode.

    Several labels in one cell have / between them, which no class has in its name.
    """
    labels, told = best(answer, classes, top), asked.told(answer, classes)
    if kind == "csv":
        cells = [one for pair in labels for one in pair] or [""] * 2 * top
        return row_of_csv([inert(answer.path), *cells, *map(cell, told.values()), answer.error])
    if kind == "table":
        shown = [(label, f"{probability:.4f}") for label, probability in labels]
        marked = told | {"unlike": "unlike" if told.get("unlike") else ""} if told else told
        return _table(shown, list(map(cell, marked.values())), answer.path, classes) if labels else ""
    label, probability = labels[0] if labels else (None, None)
    row = {"file": answer.path, "label": label, "probability": probability, "probabilities": dict(labels)}
    return json.dumps(row | told | {"error": answer.error or None}, ensure_ascii=False) + "\n"


def inert(path: str) -> str:
    """The same path, and no formula to a spreadsheet. A class is called what it is called: + and - are classes, too."""
    return f"./{path}" if path.startswith(("=", "+", "-", "@", "\t", "\r")) else path


def cell(value: object) -> object:
    """A value as a CSV has it: true or false, nothing for None, labels with / between them."""
    if isinstance(value, bool):
        return str(value).lower()
    return "/".join(value) if isinstance(value, list) else "" if value is None else value


def row_of_csv(cells: Sequence[object]) -> str:
    """A line, quoted where a cell needs it."""
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    careful = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    (careful if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)  # Python 3.13 does so by itself
    return text.getvalue()


def _table(labels: Sequence[tuple[str, str]], told: Sequence[object], file: str, classes: Sequence[str]) -> str:
    width = max(_columns(visible(label)) for label in ("label", *classes))
    shown = [(visible(label), probability) for label, probability in labels]
    cells = [f"{label}{' ' * (width - _columns(label))}  {probability:>11}" for label, probability in shown]
    cells += [_padded(value) for value in told]
    return "  ".join([*cells, visible(file)]) + "\n"


def _padded(value: object) -> str:
    """A cell of what is told beside the labels: a number with four digits, as wide as the longest column's name."""
    return f"{value:<10.4f}" if isinstance(value, float) else f"{visible(str(value)):<10}"


def _columns(text: str) -> int:
    """The columns that a terminal takes for it: two for a Chinese, Japanese or Korean character."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


def labelled(folder: Path, classes: tuple[str, ...]) -> tuple[lists.Photos, dict[str, str], list[str]]:
    """The photos of a folder of class folders, labelled in the model's order; some classes may be missing.

    With them come, as in `find`, those that are not to be read, by their whole paths, and sentences about the rest.
    """
    found = scan.walk(folder)
    files = scan.ordered([*found.photos, *found.broken])
    labels = numbered(str(folder), files, found.broken, classes)
    whole = lists.Photos(folder, classes, tuple(files), labels)
    return whole.at(np.flatnonzero(labels >= 0)), unread(found), beside(files, labels, found.broken, found.others)


def numbered(folder: str, files: Sequence[str], broken: Container[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """The class of each file by the folder that its path begins with, an index into `classes`; -1 where it has none.

    Folders are known in either spelling of é. SmallsetError unless the classes of all that is not broken are known.
    """
    number = {unicodedata.normalize("NFC", name): index for index, name in enumerate(classes)}
    tops = [unicodedata.normalize("NFC", folders.part(file, 0)) for file in files]
    names = {top for top, file in zip(tops, files, strict=True) if file not in broken} - {""}
    if not names or not names <= {*number}:
        raise SmallsetError(
            f"{folder}: expected class folders that the model knows, of {', '.join(classes)}; found "
            f"{scan.some(sorted(names), 99) or 'none'}. Rename the folders, or move those of other classes away."
        )
    return np.array([number.get(top, -1) for top in tops], np.int64)


def beside(
    files: Sequence[str], labels: NDArray[np.int64], broken: Mapping[str, str], others: Mapping[str, str] = NONE
) -> list[str]:
    """Sentences about the files that have no class, and about `others`, which are no photos."""
    outside = [file for file, label in zip(files, labels, strict=True) if label < 0]
    loose = {file: "in no class folder" for file in outside if file not in broken}
    said = scan.not_read({file: broken[file] for file in outside if file in broken})
    return said + scan.not_counted({**others, **loose})


def decoded(found: lists.Photos, given: Sequence[Answer]) -> tuple[lists.Photos, Said]:
    """The photos that decode, and what the model says of them; SmallsetError for a folder without any."""
    kept = [row for row, answer in enumerate(given) if not answer.error]
    if not kept:
        raise SmallsetError(f"{found.folder}: expected photos, found none that decodes.")
    probability = np.stack([given[row].probability for row in kept])
    return found.at(np.array(kept)), Said(probability, np.array([given[row].unlikeness for row in kept]))
