"""Files of features and of predictions: rows belong to photos by their digests, and equal rows give equal bytes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from smallset.datasets.dataset import Dataset
from smallset.features.store import Features, sample, to_float16
from smallset.models.predictions import Predictions
from smallset.pipeline.errors import SmallsetError

ORDER = np.array([7, 0, 9, 3, 2])


@pytest.fixture
def features(drawn: Dataset) -> Features:
    values = np.arange(40, dtype=np.float16).reshape(10, 4)
    thumbnails = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((10, 64, 64), np.uint8)
    metadata = {"backbone": "VGG16", "image_size": 96, "flip": "horizontal", "fingerprint": "0"}
    return Features(tiny.assign(drawn), values, values[:6] + 100, thumbnails, metadata)


@pytest.fixture
def predictions(features: Features) -> Predictions:
    dog = np.linspace(0, 1, 10)
    return Predictions(features.dataset, np.stack([1 - dog, dog], axis=1), np.arange(10.0))


def test_features_follow_their_photos(features: Features, tmp_path: Path) -> None:
    features.write(tmp_path / "x.npz")
    part = features.dataset.take(ORDER)
    loaded = Features.read(tmp_path / "x.npz", part)
    assert np.array_equal(loaded.values, features.values[ORDER])
    assert np.array_equal(loaded.thumbnails[:, 0, 0], ORDER)
    rows = [features.dataset.train.sha256.index(digest) for digest in part.train.sha256]
    assert loaded.flipped is not None
    assert np.array_equal(loaded.flipped, features.values[rows] + 100)
    assert loaded.image_size == 96
    replace(features, metadata=features.metadata | {"flip": "none"}, flipped=None).write(tmp_path / "x.npz")
    assert Features.read(tmp_path / "x.npz", part).flipped is None


def test_training_rows_include_mirror_images(features: Features) -> None:
    values, labels = features.training()
    assert values.shape == (12, 4)
    assert values.dtype == np.float32
    assert np.array_equal(labels, np.tile(features.dataset.train.labels, 2))
    assert np.array_equal(values[:6], features.of("train"))
    assert len(replace(features, flipped=None).training()[1]) == 6


def test_predictions_follow_their_photos_also_in_a_split(predictions: Predictions, tmp_path: Path) -> None:
    predictions.write(tmp_path / "x.npz")
    read = Predictions.read(tmp_path / "x.npz", predictions.dataset.take(ORDER))
    np.testing.assert_allclose(read.probabilities, predictions.probabilities[ORDER], atol=1e-7)
    np.testing.assert_array_equal(read.ood_scores, ORDER)
    assert read.probabilities.dtype == np.float64
    labels, probabilities, ood_scores = predictions.of("test")
    np.testing.assert_array_equal(labels, predictions.dataset.test.labels)
    np.testing.assert_allclose(probabilities[:, 1], [4 / 9, 1])
    np.testing.assert_array_equal(ood_scores, [4, 9])
    other = replace(predictions.dataset, classes=("cat", "dog", "fox"))
    with pytest.raises(SmallsetError, match="for the classes cat, dog, fox, found those for cat, dog"):
        Predictions.read(tmp_path / "x.npz", other)


@pytest.mark.parametrize("kind", ["features", "predictions"])
def test_equal_rows_give_equal_bytes_and_missing_photos_and_damaged_files_are_errors(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    written, path = request.getfixturevalue(kind), tmp_path / "data/x.npz"
    written.write(path)
    content = path.read_bytes()
    written.write(path)
    assert path.read_bytes() == content
    other = replace(written.dataset, table=written.dataset.table.assign(sha256=["0" * 64] * 10))
    with pytest.raises(SmallsetError, match=r"x.npz: expected rows of 10 photos, found none for 10 .*Run: dvc repro"):
        written.read(path, other)
    path.write_bytes(content[:-100])
    for file in (path, tmp_path / "gone.npz"):
        with pytest.raises(SmallsetError, match=rf"{file.name}: not a complete file .*Run: smallset check --fix"):
            written.read(file, written.dataset)


@pytest.mark.parametrize("value", [1e6, np.nan])
def test_values_that_float16_cannot_hold_are_an_error(value: float) -> None:
    with pytest.raises(SmallsetError, match="Its weights may be those of another backbone"):
        to_float16(np.array([[1.0, value]], np.float32))


def test_a_sample_has_the_share_of_every_class_and_at_least_one_row_of_each() -> None:
    labels = np.where(np.arange(600) == 333, 1, 2 * (np.arange(600) % 2))
    assert np.bincount(labels[sample(labels, 300)]) == pytest.approx([150, 1, 150], abs=1)
    assert len(sample(labels, 1000)) == 600
