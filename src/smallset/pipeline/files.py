"""Files that are complete or not there, and the formats that results are written in."""

import csv
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


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
    """Let the draft of `path` replace `path`, once the disk has its bytes."""
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
    return path.with_name(f".part.{kind}{'.' if kind else ''}{path.name}")


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
