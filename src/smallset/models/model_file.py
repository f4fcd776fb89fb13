"""Model files that are whole, and the same to the byte when the model is the same."""

import importlib.util
import io
import json
import math
import re
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
DIGITS = 16  # of a digest: two of a million photos share them once in 40 million such sets
WORDS = 300  # characters of an error of Keras's, which may be pages
VALUES = 2**26  # of one photo in any tensor: VGG16's first block at 1,024 px
GREY = 127  # of 255, of a photo that a model is tried on
SLACK = 1e-3  # by which a sum of float16 may pass 1
FLOATS = {"float16", "bfloat16", "float32", "float64"}
SHARED = re.compile(rb'("shared_object_id": )(\d+)')
NONE: Mapping[str, NDArray[Any]] = MappingProxyType({})


def save(
    model: keras.Model,
    path: Path,
    classes: Sequence[str] = (),
    temperature: float = 1.0,
    digests: Collection[str] = (),
    beside: Mapping[str, NDArray[Any]] = NONE,
) -> None:
    """Write a .keras file without the dates and memory addresses that Keras leaves in one.

    Its metadata.json keeps the classes, what the outputs are in their order, the temperature by which the logits have
    been divided, and the beginnings of `digests`, those of the photos that the model was trained on or chosen by.
    beside: arrays that the file keeps for `arrays`, and Keras does not look at.
    """
    known = {
        "date_saved": "1980-01-01@00:00:00",
        "classes": list(classes),
        "temperature": temperature,
        "photos": sorted({digest[:DIGITS] for digest in digests}),
    }
    with tempfile.TemporaryDirectory() as folder, files.atomic_write(path) as draft:
        dated = Path(folder) / path.name
        model.save(dated)
        with zipfile.ZipFile(dated) as old, zipfile.ZipFile(draft, "w") as new:
            for name in sorted(old.namelist()):
                new.writestr(zipfile.ZipInfo(name, EPOCH), _canonical(name, old.read(name), known))
            for name, values in sorted(beside.items()):
                with new.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w") as file:
                    np.save(file, values, allow_pickle=False)


def load(path: Path) -> keras.Model:
    """Read a .keras file with Keras's safe_mode, which runs no code from the file and takes no more than its size.

    SmallsetError for whatever is not such a file, or has a weight that is no number.
    """
    with whole_file(path):
        with bounded(check_stored(path)):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        check_tensors(model)
        return model


def classifier(path: Path) -> tuple[keras.Model, tuple[str, ...]]:
    """A model of photos and the names of its classes; SmallsetError where they do not fit together."""
    model, names = load(path), classes(path)
    with whole_file(path):
        taken, given = ([tuple(one.shape) for one in tensors] for tensors in (model.inputs, model.outputs))
        side = taken[0][1] if len(taken[0]) == 4 else None
        if taken != [(None, side, side, 3)] or side is None:
            raise ValueError(f"expected one input of the shape (None, side, side, 3), found {str(taken)[1:-1]}")
        wide = {(None, len(names)), *([(None, 1)] if len(names) == 2 else [])}
        if len(given) != 1 or given[0] not in wide:
            raise ValueError(
                f"expected a probability for each of {len(names)} classes, found outputs {str(given)[1:-1]}"
            )
        if {one.dtype for one in [*model.inputs, *model.outputs]} - FLOATS or isinstance(model.output, dict | list):
            raise ValueError("expected floating point numbers alone")
        check_answer(np.asarray(model(np.full((1, side, side, 3), GREY, np.float32), training=False)))
    return model, names


def check_answer(answer: NDArray[np.float32]) -> None:
    """ValueError for what are no probabilities."""
    if not (np.isfinite(answer) & (answer >= 0) & (answer <= 1 + SLACK)).all():
        raise ValueError(f"expected probabilities, found {answer.min():g} to {answer.max():g} for a grey photo")


@contextmanager
def whole_file(path: Path) -> Iterator[None]:
    """Whatever a file that is no whole model raises, and Keras raises anything, is one SmallsetError with the cure."""
    try:
        yield
    except Exception as error:
        if "keras_hub" in str(error) and importlib.util.find_spec("keras_hub") is None:
            raise SmallsetError(
                f'{path}: has layers of keras-hub, which is not installed. Run: pip install "smallset[hub]"'
            ) from None
        said = " ".join(str(error).rpartition("Exception encountered: ")[2].split())[:WORDS] or type(error).__name__
        raise SmallsetError(f"{path}: not a whole model file: {said.rstrip('.')}. {_cure(path)}") from error


@contextmanager
def bounded(count: int) -> Iterator[None]:
    """ValueError where layers ask for more weights than the file has: a config of a few bytes may claim any number."""
    made, left = keras.layers.Layer.add_weight, count

    def add_weight(self: keras.layers.Layer, *arguments: Any, shape: Any = None, **settings: Any) -> Any:  # noqa: ANN401
        nonlocal left
        left -= math.prod(shape or ()) if not isinstance(shape, int) else shape
        if left < 0:
            raise ValueError(f"its layers have more weights than the {count:,} in the file")
        return made(self, *arguments, shape=shape, **settings)

    with mock.patch.object(keras.layers.Layer, "add_weight", add_weight):
        yield


def check_tensors(model: keras.Model) -> None:
    """ValueError for weights that are no numbers, or for more values of one photo than any network here has."""
    for weight in model.weights:
        if not np.isfinite(np.asarray(weight, np.float32)).all():
            raise ValueError(f"the weights {weight.path} are not finite")
    nodes = [node for layer in model._flatten_layers() for node in layer._inbound_nodes]
    for tensor in [*model.inputs, *(one for node in nodes for one in node.output_tensors)]:
        if math.prod(side or 1 for side in tensor.shape) > VALUES:
            raise ValueError(f"expected at most {VALUES:,} values of one photo, found a tensor of {tensor.shape}")


def check_stored(path: Path) -> int:
    """The number of weights in a file; ValueError if it unpacks to more than it holds: `save` compresses nothing."""
    found: list[int] = []
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        packed = [one.filename for one in members if one.compress_type != zipfile.ZIP_STORED]
        size = sum(one.file_size for one in members)
        if packed or size > path.stat().st_size:
            raise ValueError(f"expected parts as large as they claim, of {path.stat().st_size:,} bytes; found {size:,}")
        for one in members:
            if one.filename.endswith(".h5"):
                with file.open(one) as weights, h5py.File(weights) as content:
                    content.visititems_links(check_link)
                    content.visititems(lambda name, item: found.append(stored(name, item)))
    return sum(found)


def check_link(name: str, link: h5py.HardLink | h5py.SoftLink | h5py.ExternalLink) -> None:
    """ValueError for a link that leads elsewhere, to another file maybe."""
    if type(link) is not h5py.HardLink:
        raise ValueError(f"{name}: expected weights, found a link")


def stored(name: str, item: h5py.Group | h5py.Dataset) -> int:
    """The number of values in an array; ValueError where it claims more than the file holds, or has them elsewhere."""
    if not isinstance(item, h5py.Dataset):
        return 0
    if item.id.get_storage_size() < item.nbytes or item.external or item.is_virtual:
        raise ValueError(f"{name}: expected {item.nbytes:,} bytes, found {item.id.get_storage_size():,}")
    return int(item.size or 0)


def _cure(path: Path) -> str:
    """In a pipeline folder the file may be in DVC's cache, where it may be damaged, too: DVC would not see that."""
    if path.resolve().is_relative_to(Path.cwd() / "models") and Path("dvc.yaml").is_file():
        return "Run: smallset check --fix"
    return "Get the file again, or take one that a smallset pipeline saved."


def classes(path: Path) -> tuple[str, ...]:
    """The names of a model's classes, in the order of its outputs; of one sigmoid, the second is the probable one."""
    return tuple(_known(path)["classes"])


def temperature(path: Path) -> float:
    """By what the logits of a model have been divided; 1 where they have not."""
    return float(_known(path).get("temperature", 1.0))


def seen(path: Path, digests: Iterable[str]) -> list[bool]:
    """Whether a model was trained on each photo, or chosen by it: False of all where its file does not tell."""
    photos = set(_known(path).get("photos", []))
    return [digest[:DIGITS] in photos for digest in digests]


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays that `save` was given beside the model, by their names; SmallsetError for no whole model file."""
    _known(path)
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if name.endswith(".npy")]
        try:
            return {Path(name).stem: np.load(io.BytesIO(file.read(name)), allow_pickle=False) for name in names}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise SmallsetError(f"{path}: not a whole model file: {error}. {_cure(path)}") from None


def _known(path: Path) -> dict[str, Any]:
    """What the file's metadata.json says, the names of the classes among it."""
    try:
        check_stored(path)
        with zipfile.ZipFile(path) as file:
            known: dict[str, Any] = json.loads(file.read("metadata.json"))
        check_known(known)
    except Exception:  # noqa: BLE001 - of whatever is in the file
        raise SmallsetError(
            f"{path}: not a model file with the names of its classes. Take one that a smallset pipeline saved."
        ) from None
    return known


def check_known(known: dict[str, Any]) -> None:
    """ValueError, or another error, unless `known` has what `save` writes, as far as it is used."""
    names, photos = known["classes"], known.get("photos", [])
    texts = isinstance(names, list) and isinstance(photos, list) and all(isinstance(one, str) for one in names + photos)
    if not texts or len(names) < 2 or len({*names}) < len(names) or not 0 < float(known.get("temperature", 1)) < np.inf:
        raise ValueError(known)


def _canonical(name: str, content: bytes, known: Mapping[str, object]) -> bytes:
    """metadata.json with what is known, config.json with shared objects numbered, not named by address."""
    if name == "metadata.json":
        return json.dumps(json.loads(content) | known, sort_keys=True).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return SHARED.sub(lambda match: match[1] + b"%d" % numbers.setdefault(match[2], len(numbers)), content)
    return content
