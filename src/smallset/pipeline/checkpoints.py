"""What a run that is under way keeps, for the one that goes on with the same inputs when it was killed."""

import glob
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline import files

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Arrays in a file, and the fingerprint of the run that they are of."""

    path: Path
    fingerprint: str  # of all that the run depends on

    def write(self, arrays: Arrays) -> None:
        """Replace what there was."""
        with files.atomic_write(self.path, durable=False) as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, fingerprint=np.array(self.fingerprint))

    def read(self) -> Arrays:
        """What was written last; nothing when that was of other inputs, or is damaged."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                same = str(arrays["fingerprint"]) == self.fingerprint
                return {name: arrays[name] for name in arrays.files if name != "fingerprint"} if same else {}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return {}

    def beside(self, kind: str) -> "Checkpoint":
        """Another one, of the same inputs."""
        return replace(self, path=self.path.with_suffix(f".{kind}.npz"))

    def remove(self) -> None:
        """The outputs are written. Those beside it go, too."""
        for path in (self.path, *self.path.parent.glob(f"{glob.escape(self.path.stem)}.*.npz")):
            files.remove(path)


def complete(path: Path, checkpoint: Checkpoint) -> bool:
    """Whether `path` is what the run of this checkpoint has made, so that there is nothing to do."""
    return bool(checkpoint.read()) and path.exists() and not files.draft_path(path).exists()


@contextmanager
def resumable(path: Path, checkpoint: Checkpoint) -> Iterator[Path]:
    """As files.whole, but a draft that was begun is left to the run that goes on; the checkpoint tells what is in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not checkpoint.read():
        files.remove(files.draft_path(path))
    yield files.draft_path(path)
    files.put(path)
