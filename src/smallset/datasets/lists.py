"""Which photos there are and in what order: those of class folders, and those that `subset` has listed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.datasets import scan
from smallset.pipeline import bulk, files, progress
from smallset.pipeline.errors import SmallsetError

COLUMNS = ["file", "label", "digest"]
GROUP = "group"  # a further column where photos belong together


@dataclass(frozen=True)
class Photos:
    """Photos below a folder, sorted by class and in numeric order."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]  # relative to folder: cat/cat.0.jpg
    labels: NDArray[np.int64]  # (n,), index into classes
    digests: tuple[str, ...] = ()  # sha256 of each file's bytes, by which a photo is itself under any name; of a list
    groups: tuple[str, ...] = ()  # what each belongs to, "" for nothing; of a list that has groups

    def paths(self) -> list[str]:
        """The files with their folder."""
        return [str(self.folder / file) for file in self.files]

    def at(self, rows: NDArray[np.int64]) -> "Photos":
        """The photos of these rows."""
        files, digests, groups = (
            tuple(values[row] for row in rows) if values else () for values in (self.files, self.digests, self.groups)
        )
        return replace(self, files=files, labels=self.labels[rows], digests=digests, groups=groups)

    @property
    def units(self) -> NDArray[np.int64]:
        """Numbers, (n,): the same for photos of one group, its own for any other photo."""
        groups = self.groups or ("",) * len(self.files)
        keys = [("group", group) if group else ("photo", file) for group, file in zip(groups, self.files, strict=True)]
        return np.unique([" ".join(key) for key in keys], return_inverse=True)[1]

    def spread(self, count: int) -> NDArray[np.int64]:
        """Up to `count` rows, evenly spaced, so that every class has its share."""
        return bulk.spread(len(self.files), count)

    def table(self) -> pd.DataFrame:
        """A row for each photo: file, label (the class's name), and digest and group where they are known."""
        labels = np.array(self.classes, dtype=object)[self.labels]
        known = {"digest": self.digests, GROUP: self.groups}
        return pd.DataFrame({"file": self.files, "label": labels} | {name: own for name, own in known.items() if own})


def find(folder: Path) -> Photos:
    """List the photos of `folder`/<class>/; SmallsetError unless two classes or more have photos."""
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not scan.hidden(path.name)))
    if len(classes) < 2:
        raise SmallsetError(
            f"{folder}: expected a folder for each class, two or more; found {len(classes)}: {', '.join(classes)}. "
            f"Sort the photos into one folder a class."
        )
    by_class = [files_of(folder / name) for name in classes]
    return Photos(
        folder,
        classes,
        tuple(f"{name}/{file}" for name, names in zip(classes, by_class, strict=True) for file in names),
        np.repeat(np.arange(len(classes)), [len(names) for names in by_class]),
    )


def files_of(folder: Path) -> list[str]:
    """The names in one class folder in numeric order: cat.2.jpg before cat.10.jpg. Whether they decode shows later."""
    seen = [path for path in folder.iterdir() if not scan.hidden(path.name)]
    if inner := sorted(path.name for path in seen if path.is_dir()):
        raise SmallsetError(
            f"{folder}: expected photos alone, found the folder {inner[0]}. Move its photos up, or the folder out."
        )
    names = [path.name for path in seen if path.is_file()]
    if not names:
        raise SmallsetError(f"{folder}: no photo there. Add photos of that class, or take its folder away.")
    return scan.ordered(names)


def digested(found: Photos) -> Photos:
    """The same with the digest of each file."""
    paths = progress.bar(found.paths(), what="reading", unit=" photos")
    return replace(found, digests=tuple(files.sha256(Path(path)) for path in paths))


def read(path: Path, folder: Path) -> Photos:
    """The photos below `folder` that a list names: a CSV with COLUMNS, as `Photos.table` gives it.

    The list stands for the photos: it names the bytes of each. Nothing looks at the folder before a photo is decoded.
    """
    table = rows(path)
    classes = tuple(sorted(set(table.label)))
    number = {label: index for index, label in enumerate(classes)}
    labels = np.array([number[label] for label in table.label], np.int64)
    groups = tuple(table[GROUP]) if GROUP in table else ()
    return Photos(folder, classes, tuple(table.file), labels, tuple(table.digest), groups)


def splits(tables: Path, folder: Path, names: Sequence[str] = ("train", "validation")) -> list[Photos]:
    """The photos of each split, below its folder in `folder`, by the lists in `tables`."""
    return [read(tables / f"{name}.csv", folder / name) for name in names]


def rows(path: Path) -> pd.DataFrame:
    """The rows of a list, all text: a class may be called 7, or None."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        table = pd.DataFrame()
    if list(table.columns) not in (COLUMNS, [*COLUMNS, GROUP]) or table.empty:
        raise SmallsetError(f"{path}: expected a list of photos with the columns {', '.join(COLUMNS)}. Run: dvc repro")
    return table
