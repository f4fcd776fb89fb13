"""Predictions: what a model says about every photo of a dataset, kept in one file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smallset.datasets import scan
from smallset.datasets.dataset import Dataset
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError


@dataclass(frozen=True)
class Predictions:
    """Predictions for n photos."""

    dataset: Dataset
    probabilities: NDArray[np.float64]  # (n, classes) P(class), in the order of dataset.classes
    ood_scores: NDArray[np.float64]  # (n,) NaN for a model without reference scores

    def of(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """The labels, probabilities and OOD scores of one split, in the order of `dataset.split(split)`."""
        rows = (self.dataset.table["split"] == split).to_numpy()
        return self.dataset.labels[rows], self.probabilities[rows], self.ood_scores[rows]

    def write(self, path: Path) -> None:
        """Write one .npz file, whose rows are keyed by the sha256 of their photo. Probabilities become float32."""
        arrays = {
            "sha256": np.array(self.dataset.sha256, "S64"),
            "classes": np.array(self.dataset.classes),
            "probabilities": self.probabilities.astype(np.float32),
            "ood_scores": self.ood_scores,
        }
        files.write_arrays(path, arrays)

    @classmethod
    def read(cls, path: Path, dataset: Dataset) -> "Predictions":
        """Read the predictions for a dataset's photos; SmallsetError when the file lacks one of them or is damaged."""
        arrays = files.read_arrays(path, "sha256", "classes", "probabilities", "ood_scores")
        rows = files.find_rows(path, arrays["sha256"], dataset.sha256)
        if (classes := tuple(arrays["classes"].tolist())) != dataset.classes:
            raise SmallsetError(
                f"{path}: expected predictions for the classes {scan.some(dataset.classes, text.LISTED)}, found those "
                f"for {scan.some(classes, text.LISTED)}. Run: dvc repro"
            )
        return cls(dataset, arrays["probabilities"][rows].astype(np.float64), arrays["ood_scores"][rows])
