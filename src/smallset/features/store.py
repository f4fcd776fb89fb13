"""Features: the pooled output of a frozen backbone for every photo of a dataset, kept in one file."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

FILE = Path("data/features.npz")
THUMBNAIL = 32  # px

Array16 = NDArray[np.float16]
Array32 = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """The features of a dataset's photos.

    Attributes:
        dataset: The n photos.
        values: (n, d), float16: row i belongs to photo i of `dataset`.
        flipped: (m, d), float16: the features of the mirror images of the m photos of `dataset.train`, in their order;
            None when the features were computed without mirror images.
        thumbnails: (n, 32, 32), uint8: each photo in grey, stretched to a square, for the search for duplicates.
        metadata: What the values depend on beside the photos: `backbone`, `image_size`, `flip`, `fingerprint`.
        network: The backbone, a keras.Model from pixels to values; None when the features were read from a file.

    Examples:
        >>> features.values.shape == (len(photos), 4048)
        True
        >>> features.of("test").shape == (len(photos.test), 4048)
        True
    """

    dataset: Dataset
    values: Array16
    flipped: Array16 | None
    thumbnails: NDArray[np.uint8]
    metadata: dict[str, Any]
    network: Any = None

    @property
    def image_size(self) -> int:
        """The side, in px, of the square that the backbone saw."""
        return int(self.metadata["image_size"])

    def of(self, split: str) -> Array32:
        """The features of the photos of one split, (n, d), float32, in the order of `dataset.split(split)`."""
        return self.values[(self.dataset.table["split"] == split).to_numpy()].astype(np.float32)

    def training(self) -> tuple[Array32, NDArray[np.int64]]:
        """What a classifier is trained on: features (m, d), float32, and labels (m,), mirror images included."""
        values, labels = self.of("train"), self.dataset.train.labels
        if self.flipped is None:
            return values, labels
        return np.concatenate([values, self.flipped.astype(np.float32)]), np.tile(labels, 2)

    def write(self, path: Path = FILE) -> None:
        """Write one .npz file, whose rows are keyed by the sha256 of their photo."""
        arrays: dict[str, Any] = {
            "sha256": np.array(self.dataset.sha256, "S64"),
            "flipped_sha256": np.array(self.dataset.train.sha256 if self.flipped is not None else [], "S64"),
            "values": self.values,
            "flipped": self.values[:0] if self.flipped is None else self.flipped,
            "thumbnails": self.thumbnails,
            "metadata": np.array(json.dumps(self.metadata, sort_keys=True)),
        }
        with files.atomic_write(path) as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path, dataset: Dataset) -> "Features":
        """Read the features of a dataset's photos; SmallsetError when the file lacks one of them or is damaged."""
        arrays = read_arrays(path)
        metadata = json.loads(str(arrays["metadata"]))
        rows = locate(path, arrays["sha256"], dataset.sha256)
        flipped = None
        if metadata["flip"] != "none":
            flipped = arrays["flipped"][locate(path, arrays["flipped_sha256"], dataset.train.sha256)]
        return cls(dataset, arrays["values"][rows], flipped, arrays["thumbnails"][rows], metadata)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a features file; SmallsetError when it is not one."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise SmallsetError(f"{path}: not a complete features file ({error}). Run: smallset check --fix") from None


def locate(path: Path, stored: NDArray[np.bytes_], wanted: list[str]) -> NDArray[np.int64]:
    """The row of each wanted digest; SmallsetError when one is missing."""
    row = {digest.decode(): index for index, digest in enumerate(stored.tolist())}
    missing = [digest for digest in wanted if digest not in row]
    if missing:
        raise SmallsetError(
            f"{path}: expected features of {len(wanted)} photos, found none for {len(missing)} of them, "
            f"as sha256 {missing[0][:16]}. Run: dvc repro"
        )
    return np.array([row[digest] for digest in wanted], np.int64)


def to_float16(values: Array32) -> Array16:
    """The values as float16, which reaches 65,504; SmallsetError when one is larger, or not a number."""
    if not (largest := np.abs(values).max()) <= np.finfo(np.float16).max:
        raise SmallsetError(
            f"expected outputs of the backbone below 65,504, found {largest:.3g}. Its weights may be those of another "
            f"backbone. Set `weights` in params.yaml to imagenet, or to a file of this backbone."
        )
    return values.astype(np.float16)
