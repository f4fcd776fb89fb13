"""Runs with other seeds: each depends on its seed alone, and that of the saved model gives the saved model."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from pipelines import short

from smallset.datasets import lists
from smallset.evaluation import metrics
from smallset.features import caches, extraction
from smallset.images import batches
from smallset.models import convnets, heads, model_file
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import depths, fitting, linear_probe, seeds, transfer

SHAPE = (2, 2, 4)
P = short(params.HeadTraining, epochs=3, units=4, dropout=0.5)
POOLED = short(params.Tuning, epochs=3, depth=None)
LINEAR = params.Linear(C=0.1, class_weights=None, calibrate=False)
Parts = list[keras.Model]


@pytest.fixture
def trunk() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    pixels = keras.layers.AveragePooling2D(4)(inputs) / 255
    return keras.Model(inputs, keras.layers.Concatenate()([pixels, pixels[..., :1]]), name="trunk")


@pytest.fixture
def cache(tmp_path: Path, drawn: lists.Photos, trunk: keras.Model) -> caches.Cache:
    return extracted(trunk, drawn, tmp_path / "trunk/test.npy")


def extracted(part: keras.Model, found: lists.Photos, path: Path) -> caches.Cache:
    extraction.from_photos(part, found, {path: extraction.PLAIN}, Checkpoint(path.with_suffix(".npz"), ""))
    return caches.read(path, found)


def data(cache: caches.Cache) -> caches.Data:
    """Training and validation on the same rows."""
    return caches.Data(cache, cache, batches.pixels(cache.photos, 8))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "backups/.part.runs.npz", "one")


@pytest.fixture
def top() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, keras.layers.Conv2D(4, 1, activation="relu")(inputs), name="top")


def test_each_run_depends_on_its_seed_alone(cache: caches.Cache, checkpoint: Checkpoint) -> None:
    plan = seeds.of_head(data(cache), P)
    found = seeds.probabilities(plan, cache, range(6, 8), checkpoint)
    assert found.shape == (2, 10, 2)
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-6)
    assert not np.array_equal(found[0], found[1])
    other = seeds.probabilities(plan, cache, range(7, 9), replace(checkpoint, fingerprint="other"))
    np.testing.assert_array_equal(other[0], found[1])
    checkpoint.remove()
    assert not list(checkpoint.path.parent.iterdir())


def test_without_other_seeds_or_views_there_is_no_run(cache: caches.Cache, checkpoint: Checkpoint) -> None:
    assert seeds.probabilities(seeds.of_head(data(cache), P), cache, range(6, 6), checkpoint).shape == (0, 10, 2)
    none = replace(data(cache), train=replace(cache, values=cache.views[:0]))
    assert seeds.probabilities(seeds.of_head(none, P), cache, range(6, 8), checkpoint).shape == (0, 10, 2)
    assert not checkpoint.path.parent.exists()


class Killed(Exception):  # noqa: N818
    """Where a test stops a run."""


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fine_tune", "whole"])
def test_runs_that_were_killed_go_on_and_end_the_same(
    trunk: keras.Model,
    top: keras.Model,
    cache: caches.Cache,
    checkpoint: Checkpoint,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def runs() -> list[list[float]]:
        head = seeds.of_head(data(cache), P)
        plan = {
            "classifier": lambda: head,
            "fine_tune": lambda: seeds.of_fine_tune(top, head, data(cache), P, checkpoint),
            "pooled": lambda: seeds.of_pooled(solved(trunk, top, cache), "top", data(cache), POOLED),
            "whole": lambda: seeds.of_pooled(solved(trunk, top, cache), "whole", data(cache), POOLED),
        }[model]()
        return seeds.probabilities(plan, cache, range(6, 8), checkpoint).tolist()

    weights = top.get_weights()
    whole = runs()
    checkpoint.remove()
    top.set_weights(weights)
    epochs = []

    def end(self: fitting.Progress, epoch: int, logs: dict[str, float]) -> None:
        epochs.append(epoch)
        if len(epochs) == killed_at:
            raise Killed
        plain(self, epoch, logs)

    plain, killed_at = fitting.Progress.on_epoch_end, 5 if model != "fine_tune" else 11
    monkeypatch.setattr(fitting.Progress, "on_epoch_end", end)
    with pytest.raises(Killed):
        runs()
    top.set_weights(weights)
    assert runs() == whole
    assert len(epochs) == (7 if model != "fine_tune" else 13)  # one of them twice


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fine_tune", "pooled", "whole"])
def test_the_saved_model_s_seed_gives_the_saved_model(
    tmp_path: Path,
    drawn: lists.Photos,
    trunk: keras.Model,
    top: keras.Model,
    cache: caches.Cache,
    checkpoint: Checkpoint,
    model: str,
) -> None:
    p = P.model_copy(update={"dropout": 0.0}) if model == "fine_tune" else P  # a head that is loaded draws anew
    features = extracted(convnets.chain([trunk, top], "base"), drawn, tmp_path / "base/test.npy")
    head = seeds.of_head(data(features), p)
    plan, test = {
        "classifier": (head, features),
        "fine_tune": (seeds.of_fine_tune(top, head, data(cache), P, checkpoint), cache),
        "pooled": (seeds.of_pooled(solved(trunk, top, cache), "top", data(cache), POOLED), cache),
        "whole": (seeds.of_pooled(solved(trunk, top, cache), "whole", data(cache), POOLED), cache),
    }[model]
    weights = top.get_weights()
    same, other = seeds.probabilities(plan, test, range(5, 7), checkpoint)
    top.set_weights(weights)
    saved = stages(trunk, top, cache, features, p, tmp_path / "model.keras")[model]()
    expected = metrics.predictor(saved)(drawn).probability
    np.testing.assert_allclose(same, expected, atol=1e-3)
    assert np.abs(other - expected).max() > 5e-3


def test_pooled_s_top_is_trained_again_but_for_its_normalisation(trunk: keras.Model, cache: caches.Cache) -> None:
    inputs = keras.Input(SHAPE)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 1)(inputs))
    parts = solved(trunk, keras.Model(inputs, x, name="top"), cache)
    assert not parts[1].trainable_weights
    part = seeds.of_pooled(parts, "top", data(cache), POOLED).build(0)
    assert [weight.shape for weight in part.trainable_weights] == [(1, 1, 4, 4), (4,), (8, 1), (1,)]


def solved(trunk: keras.Model, top: keras.Model, cache: caches.Cache) -> Parts:
    """Trunk, top and head as the stage linear saves them: not to be trained the two, to be trained the head."""
    model = linear_probe.fit(trunk, top, data(cache), LINEAR).model
    return [model.get_layer(name) for name in ("trunk", "top", "head")]


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
        run = fitting.Run(5, Checkpoint(path.with_suffix(".npz"), str(tuned)))
        model, _ = transfer.fit(frozen, tuned, data(cache), p, run)
        return model

    def classifier() -> keras.Model:
        keras.utils.set_random_seed(5)
        return fit([trunk, top], [heads.book(SHAPE, 2, book.units, book.dropout)], features, book)

    def fine_tune() -> keras.Model:
        model_file.save(classifier(), path)
        start = model_file.load(path)
        trunk, *tuned = (start.get_layer(name) for name in ("trunk", "top", "head"))
        return fit([trunk], tuned, cache, P)

    def pooled(depth: str) -> keras.Model:
        model_file.save(linear_probe.fit(trunk, top, data(cache), LINEAR).model, path)
        start = model_file.load(path)
        parts = [start.get_layer(name) for name in ("trunk", "top", "head")]
        keras.utils.set_random_seed(5)
        p = POOLED.model_copy(update={"depth": depth})
        return depths.fit(parts, data(cache), p, fitting.Run(5, Checkpoint(path.with_suffix(".npz"), depth))).model

    own = {"pooled": partial(pooled, "top"), "whole": partial(pooled, "whole")}
    return {"classifier": classifier, "fine_tune": fine_tune} | own
