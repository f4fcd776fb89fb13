"""Runs with other seeds: one row for each, the same for the same seed, and nothing left behind."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from smallset import caches, calibration, evaluation, files, heads, params, photos, repeats, transfer

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
    plan = repeats.Plan(BUILD, cache, cache, cache, P, 3)
    saved = {"one": repeats.scores(plan, 5, backup), "other": dict.fromkeys(repeats.SCORES, 0.5) | {"auc": 0.5}}
    table = repeats.table({"one": plan, "other": plan}, saved, 5, backup)
    assert table.columns.tolist() == ["seed", "accuracy", "loss", "brier", "ece", "model"]
    assert table.seed.tolist() == [5, 6, 7, 5, 6, 7]
    assert table.model.tolist() == ["one"] * 3 + ["other"] * 3
    assert table.iloc[1:3, :5].to_numpy().tolist() == table.iloc[4:, :5].to_numpy().tolist()
    assert table.loss[:3].nunique() == 3
    assert table.iloc[3, 1:5].tolist() == [0.5] * 4
    assert not backup.path.exists()


@pytest.mark.parametrize("same", [False, True])
def test_the_saved_model_s_seed_gives_the_saved_model(tmp_path: Path, drawn: photos.Photos, same: bool) -> None:
    backup, extracted = (files.Backup(tmp_path / f"{name}.npz", "") for name in ("training", "extraction"))
    inputs = keras.Input((8, 8, 3))
    base = keras.Model(inputs, keras.layers.AveragePooling2D(4)(inputs) / 255)
    with repeats.features(base, drawn, tmp_path / "features/test.npy", extracted) as found:
        dropout = 0 if same else 0.5
        plan = repeats.Plan(partial(heads.book, (2, 2, 3), 2, 4, dropout), found, found, found, P, 2)
        keras.utils.set_random_seed(5)
        head = plan.build()
        if same:  # the same weights for every seed, as in pooled, which draws the order alone
            plan = replace(plan, build=repeats.again(head))
        model, *_ = transfer.fit([base], [head], found, found, P, 5, backup)
        backup.remove()
        saved = calibration.loss(drawn.labels, evaluation.predict(model, drawn))
        assert repeats.scores(plan, 6, backup)["loss"] != pytest.approx(saved, rel=0.001)
        assert repeats.scores(plan, 5, backup)["loss"] == pytest.approx(saved, rel=0.001)


def test_features_of_the_test_photos_go_when_they_are_not_needed_any_more(tmp_path: Path, drawn: photos.Photos) -> None:
    inputs = keras.Input((8, 8, 3))
    base = keras.Model(inputs, keras.layers.AveragePooling2D(4)(inputs))
    with repeats.features(base, drawn, tmp_path / "features/test.npy", files.Backup(tmp_path / "x.npz", "")) as found:
        assert found.values.shape == (10, 2, 2, 3)
        assert found.labels.tolist() == drawn.labels.tolist()
    assert not list((tmp_path / "features").iterdir())
