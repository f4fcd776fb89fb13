"""Outputs that appear whole or not at all, and the few formats that results are written in."""

import csv
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

# Arrow's strings, which pandas takes where pyarrow is installed, cannot hold a file's name that is not UTF-8.
pd.set_option("mode.string_storage", "python")


@contextmanager
def atomic_write(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a draft path beside `path`; it becomes `path` when the block ends well, and is removed when it fails.

    durable: once the disk has its bytes. Not so for what is written often, and does no harm when it is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_path(path)
    remove(draft)
    try:
        yield draft
        if durable:
            put(path)
        else:
            draft.replace(path)
    finally:
        remove(draft)


def put(path: Path) -> None:
    """Give the draft of `path` its name, in place of what has it, once the disk has its bytes."""
    settle(draft_path(path))
    old = draft_path(path, "old")
    remove(old)
    if path.is_dir() or path.is_symlink():
        path.rename(old)  # a folder cannot be replaced, nor a link by a folder
    draft_path(path).replace(path)
    settle_name(path)
    remove(old)


def settle(path: Path) -> None:
    """Wait until the disk has a file, or all of a folder: else, after a power cut, its name may have no bytes."""
    if path.is_dir() and hasattr(os, "sync"):
        os.sync()  # once, not for each of thousands of photos
        return
    for file in [path] if path.is_file() else (inner for inner in path.rglob("*") if inner.is_file()):
        with file.open("r+b") as content:
            os.fsync(content.fileno())


def settle_name(path: Path) -> None:
    """Wait until the disk has the name in its folder, where the system can tell."""
    if os.name != "posix":
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network disks that know no such thing
            raise
    finally:
        os.close(folder)


def draft_path(path: Path, kind: str = "") -> Path:
    """The name beside `path` of something unfinished; git and DVC ignore such names."""
    return path.with_name(f".part.{kind}{'.' if kind else ''}{path.name}")


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes; where the disk can, as a reflink, which takes no room until one of the two changes."""
    from dvc_objects.fs import system  # it takes a while

    try:
        system.reflink(str(source), str(target))  # type: ignore[no-untyped-call]
    except OSError:  # another disk, or a file system without them
        shutil.copyfile(source, target)


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
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Six significant digits: what a person compares, and more than one seed determines."""
    settings: dict[str, Any] = {"index": False, "float_format": "%.6g", "lineterminator": "\n"}
    text = table.to_csv(**settings)
    if "\r" in text:  # in a name: Python quotes it for its sake from 3.13 on
        text = table.to_csv(**settings, quoting=csv.QUOTE_NONNUMERIC)
    with atomic_write(path) as draft:
        draft.write_bytes(text.encode())


def write_text(path: Path, text: str) -> None:
    """UTF-8."""
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")
