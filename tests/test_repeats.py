"""Runs with other seeds: one row for each, the same for the same seed, and nothing left behind."""

from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from smallset import caches, files, heads, params, photos, repeats

SHAPE = (2, 2, 4)
P = params.HeadTraining(
    batch=4,
    epochs=3,
    learning_rate=1e-2,
    epsilon=1e-7,
    ema_momentum=None,
    class_weights=None,
    calibrate=False,
    units=4,
    dropout=0.5,
)
BUILD = partial(heads.book, SHAPE, 2, 4, 0.5)


@pytest.fixture
def cache(tmp_path: Path, drawn: photos.Photos) -> caches.Cache:
    path = tmp_path / "photos/train.npy"
    values = caches.create(path, drawn, SHAPE)
    values[:] = np.random.default_rng(0).normal(size=values.shape) + drawn.labels[:, None, None, None]
    values.flush()
    return caches.read(path, drawn)


def test_each_seed_has_a_row_that_depends_on_it_alone(tmp_path: Path, cache: caches.Cache) -> None:
    backup = files.Backup(tmp_path / "backup.npz", "one")
    plans = {name: repeats.Plan(BUILD, cache, cache, cache, P, 2) for name in ("one", "other")}
    table = repeats.table(plans, 5, backup)
    assert table.columns.tolist() == ["seed", "accuracy", "loss", "brier", "ece", "model"]
    assert table.seed.tolist() == [5, 6, 5, 6]
    assert table.model.tolist() == ["one", "one", "other", "other"]
    assert table.iloc[:2, :5].to_numpy().tolist() == table.iloc[2:, :5].to_numpy().tolist()
    assert table.loss[0] != table.loss[1]
    assert not backup.path.exists()


def test_features_of_the_test_photos_go_when_they_are_not_needed_any_more(tmp_path: Path, drawn: photos.Photos) -> None:
    inputs = keras.Input((8, 8, 3))
    base = keras.Model(inputs, keras.layers.AveragePooling2D(4)(inputs))
    with repeats.features(base, drawn, tmp_path / "features/test.npy", files.Backup(tmp_path / "x.npz", "")) as found:
        assert found.values.shape == (10, 2, 2, 3)
        assert found.labels.tolist() == drawn.labels.tolist()
    assert not list((tmp_path / "features").iterdir())
