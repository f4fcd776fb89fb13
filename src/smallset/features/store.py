"""Features: the pooled output of a frozen backbone for every photo of a dataset, kept in one file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

FILE = Path("data/features.npz")
THUMBNAIL = 64  # px

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
        thumbnails: (n, 64, 64), uint8: each photo in grey, stretched to a square, for the search for duplicates.
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
        arrays = {
            "sha256": np.array(self.dataset.sha256, "S64"),
            "flipped_sha256": np.array(self.dataset.train.sha256 if self.flipped is not None else [], "S64"),
            "values": self.values,
            "flipped": self.values[:0] if self.flipped is None else self.flipped,
            "thumbnails": self.thumbnails,
            "metadata": np.array(json.dumps(self.metadata, sort_keys=True)),
        }
        files.write_arrays(path, arrays)

    @classmethod
    def read(cls, path: Path, dataset: Dataset) -> "Features":
        """Read the features of a dataset's photos; SmallsetError when the file lacks one of them or is damaged."""
        arrays = files.read_arrays(path, "sha256", "flipped_sha256", "values", "flipped", "thumbnails", "metadata")
        metadata = json.loads(str(arrays["metadata"]))
        rows, flipped = files.find_rows(path, arrays["sha256"], dataset.sha256), None
        if metadata["flip"] != "none":
            flipped = arrays["flipped"][files.find_rows(path, arrays["flipped_sha256"], dataset.train.sha256)]
        return cls(dataset, arrays["values"][rows], flipped, arrays["thumbnails"][rows], metadata)


def sample(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """About `count` rows with the same share of every class, and at least one row of each."""
    by_class = np.argsort(labels, kind="stable")
    spread = by_class[np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(np.int64)]
    return np.union1d(spread, np.unique(labels, return_index=True)[1])


def to_float16(values: Array32) -> Array16:
    """The values as float16, which reaches 65,504; SmallsetError when one is larger, or not a number."""
    if not (largest := np.abs(values).max()) <= np.finfo(np.float16).max:
        raise SmallsetError(
            f"expected outputs of the backbone below 65,504, found {largest:.3g}. Its weights may be those of another "
            f"backbone. Set `weights` in params.yaml to imagenet, or to a file of this backbone."
        )
    return values.astype(np.float16)
