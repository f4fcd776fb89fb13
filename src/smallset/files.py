"""Outputs that appear whole or not at all, and what a run that was killed leaves for the next one."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


@contextmanager
def whole(path: Path, backup: "Backup | None" = None) -> Iterator[Path]:
    """Yield a draft path beside `path`; it becomes `path` when the block ends well, and is removed when it fails.

    Given a backup that tells what is in the draft, the draft is left to the run that goes on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft, old = part(path), part(path, "old")
    if backup is None or not backup.read():
        remove(draft)
    remove(old)
    try:
        yield draft
        if path.is_dir() or path.is_symlink():
            path.rename(old)  # a folder cannot be replaced, nor a link by a folder
        draft.replace(path)
    finally:
        if backup is None:
            remove(draft)
        remove(old)


def part(path: Path, kind: str = "") -> Path:
    """The name beside `path` of something unfinished; git and DVC ignore such names."""
    return path.with_name(f".part.{kind}{'.' if kind else ''}{path.name}")


@dataclass(frozen=True)
class Backup:
    """Arrays of a run that is under way, for the one that goes on with the same inputs when it was killed."""

    path: Path
    fingerprint: str  # of all that the run depends on

    def write(self, arrays: Arrays) -> None:
        """Replace what there was."""
        with whole(self.path) as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, fingerprint=np.array(self.fingerprint))

    def read(self) -> Arrays:
        """What was written last; nothing when that was of other inputs, or is damaged."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                same = str(arrays["fingerprint"]) == self.fingerprint
                return {name: arrays[name] for name in arrays.files if name != "fingerprint"} if same else {}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return {}

    def remove(self) -> None:
        """The outputs are written."""
        remove(self.path)


def remove(path: Path) -> None:
    """Remove a file or a folder that may not be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hex digest of the file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Keys in the order given; NaN is an error."""
    with whole(path) as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Six significant digits: what a person compares, and more than one seed determines."""
    with whole(path) as draft:
        table.to_csv(draft, index=False, float_format="%.6g", lineterminator="\n")


def write_text(path: Path, text: str) -> None:
    """UTF-8."""
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")
