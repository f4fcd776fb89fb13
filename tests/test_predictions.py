"""Predictions are kept by photo: a file gives the rows of the photos that are asked for, or one error."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smallset.datasets.dataset import Dataset
from smallset.models.predictions import Predictions
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError


@pytest.fixture
def predictions() -> Predictions:
    table = pd.DataFrame(
        {
            "file": [f"{row}.jpg" for row in range(6)],
            "label": ["cat", "dog"] * 3,
            "split": ["test", "train", "train", "test", "validation", "test"],
            "group": "",
            "sha256": [f"{row:064}" for row in range(6)],
        }
    )
    dog = np.linspace(0, 1, 6)
    return Predictions(Dataset(table, ("cat", "dog")), np.stack([1 - dog, dog], axis=1), np.arange(6.0))


def test_a_file_gives_the_rows_of_the_wanted_photos(predictions: Predictions, tmp_path: Path) -> None:
    path, rows = tmp_path / "data/x.npz", np.array([5, 0, 3])
    predictions.write(path)
    wanted = predictions.dataset.take(rows)
    read = Predictions.read(path, wanted)
    np.testing.assert_allclose(read.probabilities, predictions.probabilities[rows], atol=1e-7)
    np.testing.assert_array_equal(read.ood_scores, [5, 0, 3])
    assert read.probabilities.dtype == np.float64
    digest = files.sha256(path)
    predictions.write(path)
    assert files.sha256(path) == digest


def test_a_split_has_the_order_of_the_dataset(predictions: Predictions) -> None:
    labels, probabilities, ood_scores = predictions.of("test")
    np.testing.assert_array_equal(labels, predictions.dataset.test.labels)
    np.testing.assert_allclose(probabilities[:, 1], [0, 0.6, 1])
    np.testing.assert_array_equal(ood_scores, [0, 3, 5])


def test_missing_photos_other_classes_and_damaged_files_are_one_error(predictions: Predictions, tmp_path: Path) -> None:
    path, dataset = tmp_path / "x.npz", predictions.dataset
    replace(
        predictions, dataset=dataset.take([0, 1]), probabilities=np.full((2, 2), 0.5), ood_scores=np.zeros(2)
    ).write(path)
    with pytest.raises(
        SmallsetError, match=r"expected predictions for 6 photos; it has none for 4 of them. Run: dvc repro"
    ):
        Predictions.read(path, dataset)
    predictions.write(path)
    with pytest.raises(SmallsetError, match="it has those of the classes cat, dog"):
        Predictions.read(path, replace(dataset, classes=("cat", "dog", "fox")))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SmallsetError, match=r"x.npz: not a complete file of predictions"):
        Predictions.read(path, dataset)
    with pytest.raises(SmallsetError, match="gone.npz: not a complete file of predictions"):
        Predictions.read(tmp_path / "gone.npz", dataset)
