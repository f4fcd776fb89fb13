"""Runs with other seeds: one row for each, the same for the same seed, and nothing left behind."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from smallset import (
    caches,
    calibration,
    evaluation,
    files,
    heads,
    models,
    params,
    photos,
    pooling,
    repeats,
    saving,
    training,
    transfer,
)

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
POOLED = params.PooledTraining(**P.model_dump(exclude={"units", "dropout"}), C=0.1)
Parts = list[keras.Model]
SAVED = dict.fromkeys(repeats.SCORES, 0.5) | {"auc": 0.5}


@pytest.fixture
def trunk() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    pixels = keras.layers.AveragePooling2D(4)(inputs) / 255
    return keras.Model(inputs, keras.layers.Concatenate()([pixels, pixels[..., :1]]), name="trunk")


@pytest.fixture
def cache(tmp_path: Path, drawn: photos.Photos, trunk: keras.Model) -> Iterator[caches.Cache]:
    with repeats.features(trunk, drawn, tmp_path / "trunk/test.npy", files.Backup(tmp_path / "x.npz", "")) as found:
        yield found


@pytest.fixture
def backup(tmp_path: Path) -> files.Backup:
    return files.Backup(tmp_path / "backups/.part.runs.npz", "one")


@pytest.fixture
def top() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, keras.layers.Conv2D(4, 1, activation="relu")(inputs), name="top")


def test_each_seed_has_a_row_that_depends_on_it_alone(
    trunk: keras.Model, cache: caches.Cache, backup: files.Backup
) -> None:
    plan = repeats.of_head(trunk, cache, cache, P)
    table = repeats.table(plan, cache.photos, SAVED, 5, 3, backup)
    assert table.columns.tolist() == ["seed", "accuracy", "loss", "brier", "ece"]
    assert table.seed.tolist() == [5, 6, 7]
    assert table.iloc[0, 1:].tolist() == [0.5] * 4
    assert table.loss.nunique() == 3
    other = repeats.table(plan, cache.photos, SAVED, 6, 2, replace(backup, fingerprint="other"))
    assert other.iloc[1].tolist() == table.iloc[2].tolist()
    backup.remove()
    assert not list(backup.path.parent.iterdir())


def test_one_seed_is_the_saved_model_s_and_costs_nothing(
    trunk: keras.Model, cache: caches.Cache, backup: files.Backup
) -> None:
    plan = repeats.of_head(trunk, cache, cache, P)
    assert repeats.table(plan, cache.photos, SAVED, 5, 1, backup).to_numpy().tolist() == [[5, 0.5, 0.5, 0.5, 0.5]]
    assert not backup.path.parent.exists()


class Killed(Exception):  # noqa: N818
    """Where a test stops a run."""


@pytest.mark.parametrize("model", ["classifier", "fine_tune", "pooled"])
def test_a_table_that_was_killed_goes_on_and_ends_the_same(
    trunk: keras.Model,
    top: keras.Model,
    cache: caches.Cache,
    backup: files.Backup,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def table() -> list[list[float]]:
        head = repeats.of_head(trunk, cache, cache, P)
        plan = {
            "classifier": lambda: head,
            "fine_tune": lambda: repeats.of_fine_tune(trunk, top, head, cache, cache, P, backup),
            "pooled": lambda: repeats.of_pooled(trunk, top, cache, cache, POOLED),
        }[model]()
        return repeats.table(plan, cache.photos, SAVED, 5, 3, backup).to_numpy().tolist()

    weights = top.get_weights()
    whole = table()
    backup.remove()
    top.set_weights(weights)
    epochs = []

    def end(self: training.Progress, epoch: int, logs: dict[str, float]) -> None:
        epochs.append(epoch)
        if len(epochs) == killed_at:
            raise Killed
        plain(self, epoch, logs)

    plain, killed_at = training.Progress.on_epoch_end, 5 if model != "fine_tune" else 11
    monkeypatch.setattr(training.Progress, "on_epoch_end", end)
    with pytest.raises(Killed):
        table()
    top.set_weights(weights)
    assert table() == whole
    assert len(epochs) == (7 if model != "fine_tune" else 13)  # one of them twice


@pytest.mark.parametrize("model", ["classifier", "fine_tune", "pooled"])
def test_the_saved_model_s_seed_gives_the_saved_model(
    tmp_path: Path,
    drawn: photos.Photos,
    trunk: keras.Model,
    top: keras.Model,
    cache: caches.Cache,
    backup: files.Backup,
    model: str,
) -> None:
    p = P.model_copy(update={"dropout": 0.0}) if model == "fine_tune" else P  # a head that is loaded draws anew
    base = models.chain([trunk, top], "base")
    with repeats.features(base, drawn, tmp_path / "base/test.npy", backup) as features:
        head = repeats.of_head(base, features, features, p)
        plan, test = {
            "classifier": (head, features),
            "fine_tune": (repeats.of_fine_tune(trunk, top, head, cache, cache, P, backup), cache),
            "pooled": (repeats.of_pooled(trunk, top, cache, cache, POOLED), cache),
        }[model]
        weights = top.get_weights()
        runs = {seed: repeats.scores(repeats.trained(plan, seed, backup), test, P.batch) for seed in (5, 6)}
        top.set_weights(weights)
        saved = stages(trunk, top, cache, features, p, tmp_path / "model.keras")[model]()
    loss = calibration.loss(drawn.labels, evaluation.predict(saved, drawn))
    assert runs[5][1] == pytest.approx(loss, rel=0.001)
    assert runs[6][1] != pytest.approx(loss, rel=0.001)


def stages(
    trunk: keras.Model,
    top: keras.Model,
    cache: caches.Cache,
    features: caches.Cache,
    book: params.HeadTraining,
    path: Path,
) -> dict[str, Callable[[], keras.Model]]:
    """What the stages save with seed 5, each a process of its own."""

    def fit(frozen: Parts, tuned: Parts, cache: caches.Cache, p: params.Training) -> keras.Model:
        keras.utils.set_random_seed(5)
        model, *_ = transfer.fit(frozen, tuned, cache, cache, p, 5, files.Backup(path.with_suffix(".npz"), str(tuned)))
        return model

    def classifier() -> keras.Model:
        keras.utils.set_random_seed(5)
        return fit([trunk, top], [heads.book(SHAPE, 2, book.units, book.dropout)], features, book)

    def fine_tune() -> keras.Model:
        saving.save(classifier(), path)
        start = saving.load(path)
        trunk, *tuned = (start.get_layer(name) for name in ("trunk", "top", "head"))
        return fit([trunk], tuned, cache, P)

    def pooled() -> keras.Model:
        return fit([trunk], [top, pooling.head(top, cache, POOLED)], cache, POOLED)

    return {"classifier": classifier, "fine_tune": fine_tune, "pooled": pooled}


def test_features_of_the_test_photos_go_when_they_are_not_needed_any_more(tmp_path: Path, drawn: photos.Photos) -> None:
    inputs = keras.Input((8, 8, 3))
    base = keras.Model(inputs, keras.layers.AveragePooling2D(4)(inputs))
    with repeats.features(base, drawn, tmp_path / "features/test.npy", files.Backup(tmp_path / "x.npz", "")) as found:
        assert found.values.shape == (10, 2, 2, 3)
        assert found.labels.tolist() == drawn.labels.tolist()
    assert not list((tmp_path / "features").iterdir())
