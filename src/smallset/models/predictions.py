"""Predictions: what a model says about every photo of a dataset, kept in one file."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.pipeline import files
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
        arrays: dict[str, Any] = {
            "sha256": np.array(self.dataset.sha256, "S64"),
            "classes": np.array(self.dataset.classes),
            "probabilities": self.probabilities.astype(np.float32),
            "ood_scores": self.ood_scores,
        }
        with files.atomic_write(path) as draft, draft.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path, dataset: Dataset) -> "Predictions":
        """Read the predictions for a dataset's photos; SmallsetError when the file lacks one of them or is damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                rows = {digest.decode(): row for row, digest in enumerate(arrays["sha256"].tolist())}
                probabilities, ood_scores = arrays["probabilities"].astype(np.float64), arrays["ood_scores"]
                classes = tuple(arrays["classes"].tolist())
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise SmallsetError(f"{path}: not a complete file of predictions ({error}). Run: dvc repro") from None
        missing = sum(digest not in rows for digest in dataset.sha256)
        if missing or classes != dataset.classes:
            content = f"none for {missing} of them" if missing else f"those of the classes {', '.join(classes)}"
            raise SmallsetError(
                f"{path}: expected predictions for {len(dataset)} photos; it has {content}. Run: dvc repro"
            )
        selected = [rows[digest] for digest in dataset.sha256]
        return cls(dataset, probabilities[selected], ood_scores[selected])
