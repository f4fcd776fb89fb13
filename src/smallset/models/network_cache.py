"""Networks of model files in OpenVINO's form, in the user's cache: predictions then need no Keras and no TensorFlow.

An entry belongs to the bytes of one file, which was checked completely before, and to the versions that it was made
with. An entry that is missing, damaged or cannot be written is no error: the model file is opened instead.
"""

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import platformdirs

from smallset.models import engine, model_file, precision
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

VARIABLE = "SMALLSET_CACHE"  # names another folder
LIMIT = 1_000_000_000  # bytes; the entries that have not been used for the longest time are deleted first


class Facts(NamedTuple):
    """What a classifier knows of its network."""

    name: str
    image_size: int  # px
    outputs: int  # 1 for a sigmoid, otherwise the number of classes


@dataclass
class Entry:
    """The place in the cache for the network of a model file."""

    model: Path  # absolute
    sha256: str  # of the model file
    path: Path  # an .npz file
    facts: Facts | None = None  # None: the entry is missing or damaged
    arrays: model_file.Arrays = field(default_factory=dict, repr=False)  # the bytes of OpenVINO's two files

    def compile(self) -> engine.Step | None:
        """Compile the network of the entry; None when that fails."""
        with suppress(Exception):  # OpenVINO's errors have many types
            import openvino

            xml, weights = (self.arrays.pop(name) for name in ("xml", "bin"))
            return engine.compile_model(engine.open_core().read_model(xml.tobytes(), openvino.Tensor(weights)))
        return None

    def write(self, facts: Facts, model: engine.Model) -> None:
        """Write the entry, and delete the oldest entries above the LIMIT."""
        import openvino

        with suppress(OSError, RuntimeError), tempfile.TemporaryDirectory() as folder:  # RuntimeError: OpenVINO's
            openvino.save_model(model, f"{folder}/network.xml", compress_to_fp16=False)
            arrays = {name: np.fromfile(f"{folder}/network.{name}", np.uint8) for name in ("xml", "bin")}
            files.write_arrays(self.path, arrays | {"facts": np.array(facts, str)}, durable=False)
            left = LIMIT
            for path in sorted(self.path.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True):
                left -= path.stat().st_size
                if left < 0:
                    path.unlink()

    def open_network(self) -> model_file.Network:
        """Open the model file, which must not have changed."""
        if not self.model.is_file() or files.sha256(self.model) != self.sha256:
            raise SmallsetError(f"{self.model}: the file has changed since it was loaded. Load it again.")
        return model_file.open_network(self.model)


def read(model: Path) -> Entry:
    """Read the entry of a model file with its present bytes and this process's precision."""
    sha256, cache = files.sha256(model), os.environ.get(VARIABLE) or platformdirs.user_cache_path("smallset")
    hint = "bf16" if precision.in_bfloat16() else "f32"
    key = [sha256, *(metadata.version(name) for name in ("openvino", "smallset")), hint]
    entry = Entry(model.absolute(), sha256, Path(cache) / f"networks/{'-'.join(key)}.npz")
    with suppress(Exception):  # a damaged file causes errors of many types
        arrays = files.read_arrays(entry.path)  # and checks their CRC
        name, image_size, outputs = arrays.pop("facts").tolist()
        entry.facts, entry.arrays = Facts(name, int(image_size), int(outputs)), arrays
        os.utime(entry.path)  # fails in a read-only folder
    return entry
