"""Predictions: what a model says about every photo of a dataset, kept in one file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

TOLERANCE = 0.02  # of a probability and of the sum of all classes: bfloat16 has 8 bits of precision


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
                f"{path}: expected predictions for the classes {', '.join(dataset.classes)}, found those for "
                f"{', '.join(classes)}. Run: dvc repro"
            )
        return cls(dataset, arrays["probabilities"][rows].astype(np.float64), arrays["ood_scores"][rows])


def to_class_probabilities(output: NDArray[np.floating]) -> NDArray[np.float64]:
    """Convert a network's output to P(class), (n, classes): the column p of a sigmoid becomes 1 - p and p.

    Raises:
        SmallsetError: The values are not in 0..1, or the rows of a softmax do not sum to 1.
    """
    values = np.asarray(output, np.float64)
    rows = np.hstack([1 - values, values]) if values.shape[1] == 1 else values
    if not (np.abs(rows - 0.5) <= 0.5 + TOLERANCE).all() or not (np.abs(rows.sum(axis=1) - 1) <= TOLERANCE).all():
        raise SmallsetError(
            f"The model's outputs are not probabilities: expected values in 0..1 with a sum of 1 per photo, found "
            f"{values.min():.3g} to {values.max():.3g}. Use a model whose last layer is a softmax, or one sigmoid."
        )
    return rows
