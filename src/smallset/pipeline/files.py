"""Files that are complete or not there, and the formats that results are written in."""

import csv
import errno
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MAX_NAME = 255  # bytes of a file name in usual file systems


@contextmanager
def atomic_write(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a draft path beside `path`; it replaces `path` when the block ends, and is removed when it fails.

    durable: Wait until the disk has the bytes, so that a power cut leaves the old or the new content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_path(path)
    remove(draft)
    try:
        yield draft
        if durable:
            publish(path)
        else:
            draft.replace(path)
    finally:
        remove(draft)


def publish(path: Path) -> None:
    """Replace `path` by its draft, after the bytes of the draft have reached the disk."""
    draft, old = draft_path(path), draft_path(path, "old")
    if draft.is_dir():
        os.sync()  # one call for thousands of photos
    else:
        _flush(draft)
    remove(old)
    if path.is_dir() or path.is_symlink():
        path.rename(old)  # a folder cannot be replaced, nor a link by a folder
    draft.replace(path)
    _flush(path.parent)
    remove(old)


def _flush(path: Path) -> None:
    """Wait until the disk has the bytes of a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network disks that cannot do it
            raise
    finally:
        os.close(descriptor)


def draft_path(path: Path, kind: str = "") -> Path:
    """The name beside `path` for something unfinished; git and DVC ignore such names."""
    prefix, name = f".part.{kind}{'.' if kind else ''}", path.name
    if len(os.fsencode(prefix + name)) > MAX_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest() + path.suffix[-8:]
    return path.with_name(prefix + name)


def fit_name(stem: str, ending: str) -> str:
    """A file name that ends in `ending`: the stem loses its last characters if the name would be too long."""
    while stem and len(os.fsencode(stem + ending)) > MAX_NAME:
        stem = stem[:-1]
    return stem + ending


def copy(source: Path, target: Path) -> None:
    """Copy a file; as a reflink, which needs no space until one of the two changes, where the file system can."""
    from dvc_objects.fs import system  # slow to import

    try:
        system.reflink(str(source), str(target))  # type: ignore[no-untyped-call]
    except OSError:  # another disk, or a file system without reflinks
        shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON with the keys in the given order; NaN raises ValueError."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write CSV with six significant digits, which is more than one seed determines."""
    write_text(path, format_csv(table))


def format_csv(table: "pd.DataFrame") -> str:
    """A table as CSV text with six significant digits."""
    settings: dict[str, Any] = {"index": False, "float_format": "%.6g", "lineterminator": "\n"}
    content = table.to_csv(**settings)
    if "\r" in content:  # in a name, which only Python 3.13 and later quote for this reason
        content = table.to_csv(**settings, quoting=csv.QUOTE_NONNUMERIC)
    return content


def write_text(path: Path, content: str) -> None:
    """Write UTF-8."""
    with atomic_write(path) as draft:
        draft.write_bytes(content.encode())


def write_arrays(path: Path, arrays: "Mapping[str, NDArray[Any]]", durable: bool = True) -> None:
    """Write an .npz file: equal arrays give equal bytes. durable: as in `atomic_write`."""
    import numpy as np

    with atomic_write(path, durable) as draft, draft.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path, *names: str) -> "dict[str, NDArray[Any]]":
    """Read these arrays of an .npz file, or all; SmallsetError when the file lacks one of them or is damaged."""
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in names or content.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise SmallsetError(
            f"{path}: not a complete file ({error}). Run: smallset check --fix, then: dvc repro"
        ) from None


def find_rows(path: Path, stored: "NDArray[np.bytes_]", wanted: Sequence[str]) -> list[int]:
    """The row of each wanted sha256 among the `stored` ones of a file; SmallsetError when one is missing."""
    row = {digest.decode(): number for number, digest in enumerate(stored.tolist())}
    if missing := [digest for digest in wanted if digest not in row]:
        raise SmallsetError(
            f"{path}: expected rows of {len(wanted)} photos, found none for {len(missing)} of them, "
            f"as sha256 {missing[0][:16]}. Run: dvc repro"
        )
    return [row[digest] for digest in wanted]
