"""A dataset: one table with a row for each photo, which all later steps read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

Fractions = tuple[float, float, float]  # train, validation, test
SPLITS = ("train", "validation", "test")
COLUMNS = ("file", "label", "split", "group", "sha256")
TABLE = Path("metrics/photos.csv")  # where a pipeline keeps its table


@dataclass(frozen=True)
class Dataset:
    """Photos with labels and splits.

    Attributes:
        table: One row per photo: `file` (path below `root`), `label`, `split` (train, validation, test, or empty),
            `group` (empty for none), `sha256` of the file's bytes, and what `datasets.measure` adds: `width`, `height`
            in px; `brightness`, `sharpness`, `saturation` in 0..1.
        classes: The class names in the order of the models' outputs. A part of a dataset keeps all of them.
        root: The folder that the files are relative to.

    Examples:
        >>> photos = smallset.Dataset.from_folder("pets")
        >>> photos.classes
        ('cat', 'dog')
        >>> len(photos) == len(photos.train) + len(photos.validation) + len(photos.test)
        True
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    root: Path = Path()

    @classmethod
    def from_folder(
        cls, folder: str | Path, table: str | Path | None = None, fractions: Fractions = (0.6, 0.2, 0.2), seed: int = 0
    ) -> "Dataset":
        """Read and measure the photos in class folders, or in any folder with a table of labels.

        The splits are those of the folders or of the table, or else drawn by `fractions` (train, validation, test).
        Warnings tell what is assumed and what is left out. SmallsetError when the labels are not clear.
        """
        from smallset.datasets import prepare

        return prepare.load(Path(folder), Path(table) if table else None, fractions, seed)

    @classmethod
    def from_table(cls, table: str | Path, folder: str | Path) -> "Dataset":
        """Read and measure the photos in a CSV or JSON file with the columns file, label and perhaps split, group."""
        return cls.from_folder(folder, table)

    @classmethod
    def read(cls, path: Path = TABLE, root: Path = Path()) -> "Dataset":
        """Read the table that `write` wrote; SmallsetError when the file is not such a table."""
        try:
            table = pd.read_csv(
                path, dtype=dict.fromkeys(COLUMNS, str), keep_default_na=False
            )  # a class may be 7 or None
        except (OSError, ValueError):
            table = pd.DataFrame()
        if table.empty or not {*COLUMNS} <= {*table.columns}:
            columns = ", ".join(COLUMNS)
            raise SmallsetError(f"{path}: expected a table of photos with the columns {columns}. Run: dvc repro")
        return cls(table.astype(dict.fromkeys(COLUMNS, object)), tuple(sorted({*table["label"]})), root)

    def write(self, path: Path = TABLE) -> None:
        """Write the table as CSV."""
        files.write_csv(path, self.table)

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.table)

    def take(self, rows: Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]) -> "Dataset":
        """The photos of these rows, by number or by mask, with the same classes."""
        rows = np.asarray(rows)
        numbers = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return replace(self, table=self.table.iloc[numbers].reset_index(drop=True))

    def split(self, name: str) -> "Dataset":
        """The photos of one split."""
        return self.take((self.table["split"] == name).to_numpy())

    @cached_property
    def train(self) -> "Dataset":
        """The training photos."""
        return self.split("train")

    @cached_property
    def validation(self) -> "Dataset":
        """The validation photos, which select models."""
        return self.split("validation")

    @cached_property
    def test(self) -> "Dataset":
        """The test photos, which only evaluate."""
        return self.split("test")

    @cached_property
    def paths(self) -> list[Path]:
        """The path of each photo."""
        return [self.root / file for file in self.table["file"]]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of each photo, (n,), an index into `classes`."""
        number = {name: index for index, name in enumerate(self.classes)}
        return np.array([number[label] for label in self.table["label"]], np.int64)

    @cached_property
    def sha256(self) -> list[str]:
        """The digest of each photo's bytes."""
        return self.table["sha256"].tolist()

    @cached_property
    def group_ids(self) -> NDArray[np.int64]:
        """Numbers, (n,), that are equal for photos of one group; a photo without a group has its own number."""
        keys = ("group " + self.table["group"]).where(self.table["group"] != "", "photo " + self.table["sha256"])
        return np.unique(keys.to_numpy(str), return_inverse=True)[1].astype(np.int64)

    def spread(self, count: int) -> NDArray[np.int64]:
        """Up to `count` rows, evenly spaced, so that every class has its share when rows are sorted by class."""
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
