"""Intermediate results of a long run, from which a run with the same inputs continues after a kill."""

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Arrays in an .npz file, valid for one fingerprint."""

    path: Path
    fingerprint: str  # a digest of everything that the arrays depend on

    def write(self, arrays: Arrays) -> None:
        """Replace the arrays."""
        files.write_arrays(self.path, {**arrays, "fingerprint": np.array(self.fingerprint)}, durable=False)

    def read(self) -> Arrays:
        """The arrays of the last `write`; empty when they have another fingerprint or are damaged."""
        try:
            arrays = files.read_arrays(self.path)
        except SmallsetError:
            return {}
        return arrays if str(arrays.pop("fingerprint", "")) == self.fingerprint else {}

    def beside(self, kind: str) -> "Checkpoint":
        """Another checkpoint of the same run."""
        return replace(self, path=self.path.with_suffix(f".{kind}.npz"))

    def remove(self) -> None:
        """Remove this checkpoint and those beside it, after the outputs are written."""
        for path in (self.path, *self.path.parent.glob(f"{glob.escape(self.path.stem)}.*.npz")):
            files.remove(path)


@contextmanager
def resumable(path: Path, checkpoint: Checkpoint) -> Iterator[Path]:
    """Like files.atomic_write, but a failed block leaves its draft for the next run.

    The checkpoint must tell what the draft contains; a draft without a valid checkpoint is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not checkpoint.read():
        files.remove(files.draft_path(path))
    yield files.draft_path(path)
    files.publish(path)
