"""Networks of model files as OpenVINO reads them, in the user's cache: predictions then need no Keras or TensorFlow.

An entry belongs to one file, which was checked completely before, and to the versions that it was made with. An entry
that is missing, damaged or cannot be written is no error: the model file is opened instead.
"""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import platformdirs

from smallset.models import engine, model_file, precision
from smallset.models.model_file import Network
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

VARIABLE = "SMALLSET_CACHE"  # names another folder
LIMIT = 1_000_000_000  # bytes; the entries that have not been used for the longest time are deleted first
XML, BIN, FACTS = "network.xml", "network.bin", "facts.json"


class Facts(NamedTuple):
    """What a classifier knows of its network."""

    name: str
    image_size: int  # px
    outputs: int  # 1 for a sigmoid, otherwise the number of classes


@dataclass(frozen=True)
class Entry:
    """The place in the cache for the network of a model file."""

    model: Path  # absolute
    sha256: str  # of the model file
    folder: Path

    def read(self) -> Facts | None:
        """The facts of the network; None when the entry is missing or damaged."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads((self.folder / FACTS).read_bytes())
            if all(files.sha256(self.folder / name) == content["sha256"][name] for name in (XML, BIN)):
                with suppress(OSError):  # of a read-only folder
                    os.utime(self.folder)
                return Facts(**content["network"])
        return None

    def compile(self) -> engine.Step | None:
        """Compile the network of an entry that `read` has checked; None when that fails."""
        with suppress(Exception):  # OpenVINO's errors have many types
            return engine.compile_model(engine.open_core().read_model(self.folder / XML))
        return None

    def write(self, model: engine.Model, facts: Facts) -> None:
        """Write the entry from OpenVINO's form of the network, and delete the oldest entries above the LIMIT."""
        import openvino

        with suppress(OSError, RuntimeError):  # the latter is OpenVINO's for a full disk
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder.parent, ignore_cleanup_errors=True) as folder:
                draft = Path(folder) / "draft"
                draft.mkdir()
                openvino.save_model(model, draft / XML, compress_to_fp16=False)
                digests = {name: files.sha256(draft / name) for name in (XML, BIN)}
                (draft / FACTS).write_text(json.dumps({"network": facts._asdict(), "sha256": digests}))
                files.remove(self.folder)
                draft.replace(self.folder)
            _delete_oldest(self.folder.parent)

    def open_network(self) -> Network:
        """Open the model file, which must not have changed."""
        if not self.model.is_file() or files.sha256(self.model) != self.sha256:
            raise SmallsetError(f"{self.model}: the file has changed since it was loaded. Load it again.")
        return model_file.open_network(self.model)


def locate(model: Path) -> Entry:
    """The entry of a model file with its present bytes, whether the entry exists or not."""
    sha256, cache = files.sha256(model), os.environ.get(VARIABLE) or platformdirs.user_cache_path("smallset")
    hint = "bf16" if precision.in_bfloat16() else "f32"
    versions = (metadata.version(name) for name in ("openvino", "smallset"))
    return Entry(model.absolute(), sha256, Path(cache) / "networks" / "-".join([sha256, *versions, hint]))


def _delete_oldest(cache: Path) -> None:
    left = LIMIT
    for entry in sorted(cache.iterdir(), key=lambda entry: entry.stat().st_mtime, reverse=True):
        left -= sum(file.stat().st_size for file in entry.rglob("*"))
        if left < 0:
            files.remove(entry)
