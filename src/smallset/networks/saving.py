"""Model files that are whole, and the same to the byte when the model is the same."""

import importlib.util
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from smallset.pipeline.errors import SmallsetError
from smallset.storage import files

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
DIGITS = 16  # of a digest: two of a million photos share them once in 40 million such sets
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
    with tempfile.TemporaryDirectory() as folder, files.whole(path) as draft:
        dated = Path(folder) / path.name
        model.save(dated)
        with zipfile.ZipFile(dated) as old, zipfile.ZipFile(draft, "w") as new:
            for name in sorted(old.namelist()):
                new.writestr(zipfile.ZipInfo(name, EPOCH), _canonical(name, old.read(name), known))
            for name, values in sorted(beside.items()):
                with new.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w") as file:
                    np.save(file, values, allow_pickle=False)


def load(path: Path) -> keras.Model:
    """Read a .keras file with Keras's safe_mode, which runs no code from the file and takes no more than its size."""
    try:
        check_stored(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        if "keras_hub" in str(error) and importlib.util.find_spec("keras_hub") is None:
            raise SmallsetError(
                f'{path}: has layers of keras-hub, which is not installed. Run: pip install "smallset[hub]"'
            ) from None
        raise SmallsetError(f"{path}: not a whole model file: {error}. {_cure(path)}") from error


def check_stored(path: Path) -> None:
    """ValueError for a file that would unpack to more than it holds: `save` compresses nothing."""
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        packed = [one.filename for one in members if one.compress_type != zipfile.ZIP_STORED]
        size = sum(one.file_size for one in members)
        if packed or size > path.stat().st_size:
            raise ValueError(f"expected parts as large as they claim, of {path.stat().st_size:,} bytes; found {size:,}")
        for one in members:
            if one.filename.endswith(".h5"):
                with file.open(one) as weights, h5py.File(weights) as content:
                    content.visititems(check_dataset)


def check_dataset(name: str, item: h5py.Group | h5py.Dataset) -> None:
    """ValueError for an array that claims more than the file holds."""
    if isinstance(item, h5py.Dataset) and item.id.get_storage_size() < item.nbytes:
        raise ValueError(f"{name}: expected {item.nbytes:,} bytes, found {item.id.get_storage_size():,}")


def _cure(path: Path) -> str:
    """In a pipeline folder DVC knows how a model is made, whichever stage makes it."""
    if path.resolve().is_relative_to(Path.cwd() / "models") and Path("dvc.yaml").is_file():
        return f"Run: dvc repro {path}"
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
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        known = {}
    if not known.get("classes"):
        raise SmallsetError(
            f"{path}: not a model file with the names of its classes. Take one that a smallset pipeline saved."
        )
    return known


def _canonical(name: str, content: bytes, known: Mapping[str, object]) -> bytes:
    """metadata.json with what is known, config.json with shared objects numbered, not named by address."""
    if name == "metadata.json":
        return json.dumps(json.loads(content) | known, sort_keys=True).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return SHARED.sub(lambda match: match[1] + b"%d" % numbers.setdefault(match[2], len(numbers)), content)
    return content
