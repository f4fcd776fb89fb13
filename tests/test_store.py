"""The file of features: rows belong to photos by their digests, and the same features give the same bytes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from smallset.datasets.dataset import Dataset
from smallset.features.store import Features, to_float16
from smallset.pipeline.errors import SmallsetError


@pytest.fixture
def features(drawn: Dataset) -> Features:
    values = np.arange(40, dtype=np.float16).reshape(10, 4)
    photos = tiny.assign(drawn)
    thumbnails = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((10, 32, 32), np.uint8)
    metadata = {"backbone": "VGG16", "image_size": 96, "flip": "horizontal", "fingerprint": "0"}
    return Features(photos, values, values[:6] + 100, thumbnails, metadata)


def test_rows_follow_their_photos(features: Features, tmp_path: Path) -> None:
    path, order = tmp_path / "features.npz", np.array([7, 0, 9, 3, 2])
    features.write(path)
    part = features.dataset.take(order)
    loaded = Features.read(path, part)
    assert np.array_equal(loaded.values, features.values[order])
    assert np.array_equal(loaded.thumbnails[:, 0, 0], order)
    rows = [features.dataset.train.sha256.index(digest) for digest in part.train.sha256]
    assert loaded.flipped is not None
    assert features.flipped is not None
    assert np.array_equal(loaded.flipped, features.flipped[rows])
    assert loaded.image_size == 96
    first = path.read_bytes()
    features.write(path)
    assert path.read_bytes() == first


def test_training_rows_include_mirror_images(features: Features) -> None:
    values, labels = features.training()
    assert values.shape == (12, 4)
    assert values.dtype == np.float32
    assert np.array_equal(labels, np.tile(features.dataset.train.labels, 2))
    assert np.array_equal(values[:6], features.of("train"))
    assert len(replace(features, flipped=None).training()[1]) == 6


def test_missing_photos_and_damaged_files_are_errors(features: Features, tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    replace(features, dataset=features.dataset, metadata=features.metadata | {"flip": "none"}, flipped=None).write(path)
    assert Features.read(path, features.dataset).flipped is None
    other = replace(features.dataset, table=features.dataset.table.assign(sha256=["0" * 64] * 10))
    with pytest.raises(SmallsetError, match=r"expected features of 10 photos, found none for 10 of them.*dvc repro"):
        Features.read(path, other)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SmallsetError, match="features.npz: not a complete features file"):
        Features.read(path, features.dataset)


@pytest.mark.parametrize("value", [1e6, np.nan])
def test_values_that_float16_cannot_hold_are_an_error(value: float) -> None:
    with pytest.raises(SmallsetError, match="Its weights may be those of another backbone"):
        to_float16(np.array([[1.0, value]], np.float32))
