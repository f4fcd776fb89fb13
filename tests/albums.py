"""Folders of files that start like photos, and tables about photos that do not exist."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from smallset.datasets.dataset import COLUMNS, Dataset

JPEG = b"\xff\xd8\xff\xe0"  # how photos start
Column = Callable[[int], str]


def put(folder: Path, *names: str) -> Path:
    """Write files that start like photos and contain their own names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG + name.encode("utf-8", "surrogateescape"))
    return folder


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_album(sizes: dict[str, int], split: Column = lambda _: "", group: Column = lambda _: "") -> Dataset:
    """Photos photos/<class>/<number>.png; the columns are functions of the number."""
    rows = [
        (f"photos/{label}/{number}.png", label, split(number), group(number), digest(f"{label} {number}"))
        for label, size in sizes.items()
        for number in range(size)
    ]
    return Dataset(pd.DataFrame(rows, columns=[*COLUMNS], dtype=object), tuple(sizes))
