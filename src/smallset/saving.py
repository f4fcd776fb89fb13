"""Model files that are whole, and the same to the byte when the model is the same."""

import json
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import keras

from smallset import files
from smallset.errors import SmallsetError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
SHARED = re.compile(rb'("shared_object_id": )(\d+)')


def save(model: keras.Model, path: Path, classes: Sequence[str] = ()) -> None:
    """Write a .keras file without the dates and memory addresses that Keras leaves in one.

    classes: what the outputs are, in their order; they are kept in the file's metadata.json.
    """
    with tempfile.TemporaryDirectory() as folder, files.whole(path) as draft:
        dated = Path(folder) / path.name
        model.save(dated)
        with zipfile.ZipFile(dated) as old, zipfile.ZipFile(draft, "w") as new:
            for name in sorted(old.namelist()):
                new.writestr(zipfile.ZipInfo(name, EPOCH), _canonical(name, old.read(name), classes))


def load(path: Path) -> keras.Model:
    """Read a .keras file with Keras's safe_mode, which runs no code from the file."""
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise SmallsetError(f"{path}: not a whole model file: {error}. {_cure(path)}") from error


def _cure(path: Path) -> str:
    """In a pipeline folder DVC knows how a model is made, whichever stage makes it."""
    if path.resolve().is_relative_to(Path.cwd() / "models") and Path("dvc.yaml").is_file():
        return f"Run: dvc repro {path}"
    return "Get the file again, or take one that a smallset pipeline saved."


def classes(path: Path) -> tuple[str, ...]:
    """The names of a model's classes, in the order of its outputs; of one sigmoid, the second is the probable one."""
    try:
        with zipfile.ZipFile(path) as file:
            names = json.loads(file.read("metadata.json")).get("classes")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        names = None
    if not names:
        raise SmallsetError(
            f"{path}: not a model file with the names of its classes. Take one that a smallset pipeline saved."
        )
    return tuple(names)


def _canonical(name: str, content: bytes, classes: Sequence[str]) -> bytes:
    """metadata.json with the classes and no date, config.json with shared objects numbered, not named by address."""
    if name == "metadata.json":
        known = {"date_saved": "1980-01-01@00:00:00", "classes": list(classes)}
        return json.dumps(json.loads(content) | known, sort_keys=True).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return SHARED.sub(lambda match: match[1] + b"%d" % numbers.setdefault(match[2], len(numbers)), content)
    return content
