"""Model files that are whole, and the same to the byte when the model is the same."""

import json
import re
import tempfile
import zipfile
from pathlib import Path

import keras

from smallset import files
from smallset.errors import SmallsetError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold
SHARED = re.compile(rb'("shared_object_id": )(\d+)')


def save(model: keras.Model, path: Path) -> None:
    """Write a .keras file without the dates and memory addresses that Keras leaves in one."""
    with tempfile.TemporaryDirectory() as folder, files.whole(path) as draft:
        dated = Path(folder) / path.name
        model.save(dated)
        with zipfile.ZipFile(dated) as old, zipfile.ZipFile(draft, "w") as new:
            for name in sorted(old.namelist()):
                new.writestr(zipfile.ZipInfo(name, EPOCH), _canonical(name, old.read(name)))


def load(path: Path) -> keras.Model:
    """Read a .keras file with Keras's safe_mode, which runs no code from the file."""
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise SmallsetError(f"{path}: not a whole model file: {error}. Run: dvc repro {path.stem}") from error


def _canonical(name: str, content: bytes) -> bytes:
    """metadata.json with no date, config.json with its shared objects numbered and not named by memory address."""
    if name == "metadata.json":
        return json.dumps(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}, sort_keys=True).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return SHARED.sub(lambda match: match[1] + b"%d" % numbers.setdefault(match[2], len(numbers)), content)
    return content
