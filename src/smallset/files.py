"""Outputs that appear whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a draft path beside `path`; it becomes `path` when the block ends well, and is removed when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".part.{path.name}")
    remove(draft)
    try:
        yield draft
        remove(path)
        draft.replace(path)
    finally:
        remove(draft)


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
