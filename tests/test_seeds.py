"""Runs with other seeds: each depends on its seed alone, and the seed of the saved model gives the saved model."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny

from smallset.datasets.dataset import Dataset
from smallset.features import activations
from smallset.images import batches
from smallset.models import convnets, model_file
from smallset.models.probabilities import to_class_probabilities
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import fitting, seeds, transfer

SHAPE = (2, 2, 4)
P = params.Head(**tiny.TRAINING | {"epochs": 3, "dense_units": 4, "dropout": 0.5})


@pytest.fixture
def frozen() -> keras.Model:
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.AveragePooling2D(4)(pixels) / 255
    return keras.Model(pixels, keras.layers.Concatenate()([x, x[..., :1]]), name="frozen")


@pytest.fixture
def last_block() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, keras.layers.Conv2D(4, 1, activation="relu")(inputs), name="last_block")


@pytest.fixture
def data(frozen: keras.Model, drawn: Dataset) -> activations.Data:
    """The outputs of the frozen layers; the same photos are for training, validation and testing."""
    return cache([frozen], drawn)


def cache(parts: list[keras.Model], photos: Dataset) -> activations.Data:
    pixels = batches.pixels(photos, 8)
    values = convnets.join(parts, "parts").predict(pixels, verbose=0).astype(np.float16)
    outputs = activations.Cache(values, photos)
    return activations.Data(outputs, outputs, pixels)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "checkpoints/.part.runs.npz", "")


def test_each_run_depends_on_its_seed_alone(data: activations.Data, checkpoint: Checkpoint) -> None:
    plan = seeds.head_plan(data, P)
    assert seeds.repeat(plan, data.validation, range(0), checkpoint).shape == (0, 10, 2)
    no_views = replace(plan, data=replace(data, train=replace(data.train, values=data.train.views[:0])))
    assert seeds.repeat(no_views, data.validation, range(2), checkpoint).shape == (0, 10, 2)
    assert not checkpoint.path.parent.exists()
    runs = seeds.repeat(plan, data.validation, range(6, 8), checkpoint)
    assert runs.shape == (2, 10, 2)
    np.testing.assert_allclose(runs.sum(axis=2), 1, atol=1e-6)
    assert not np.array_equal(runs[0], runs[1])
    other = seeds.repeat(plan, data.validation, range(7, 8), replace(checkpoint, fingerprint="other"))
    np.testing.assert_array_equal(other[0], runs[1])
    checkpoint.remove()
    assert not list(checkpoint.path.parent.iterdir())


@pytest.mark.slow
def test_runs_that_were_killed_continue_and_give_the_same_bytes(
    last_block: keras.Model, data: activations.Data, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = last_block.get_weights()

    def repeat() -> list[list[float]]:
        last_block.set_weights(weights)
        plan = seeds.fine_tune_plan(last_block, seeds.head_plan(data, P), data, P, checkpoint)
        return seeds.repeat(plan, data.validation, range(6, 8), checkpoint).tolist()

    complete = repeat()
    checkpoint.remove()
    epochs = tiny.kill_after(10, monkeypatch)  # in the second run, after the epochs of its head
    with pytest.raises(tiny.KilledError):
        repeat()
    assert repeat() == complete
    assert epochs == [1, 2, 3] * 4


@pytest.mark.slow
def test_the_seed_of_the_stages_gives_the_model_of_fine_tune(
    tmp_path: Path, frozen: keras.Model, last_block: keras.Model, data: activations.Data, checkpoint: Checkpoint
) -> None:
    p = P.model_copy(update={"dropout": 0.0})  # a head that is loaded from a file draws other numbers
    features, weights = cache([frozen, last_block], data.train.dataset), last_block.get_weights()
    plan = seeds.fine_tune_plan(last_block, seeds.head_plan(features, p), data, p, checkpoint)
    same, other = seeds.repeat(plan, data.validation, range(5, 7), checkpoint)
    last_block.set_weights(weights)

    def train(parts: list[keras.Model], trainable: int, inputs: activations.Data) -> list[keras.Model]:
        """Train the last parts as a stage does, and load its file."""
        run = fitting.Run(5, Checkpoint(tmp_path / "stage.npz", str(trainable)))
        network, _ = transfer.fit(parts[:-trainable], parts[-trainable:], inputs, p, run)
        model_file.save(network, tmp_path / "model.keras")
        return list(model_file.open_network(tmp_path / "model.keras").layers[1:])

    keras.utils.set_random_seed(5)
    parts = train([frozen, last_block, convnets.book_head(SHAPE, 2, 4, 0.0)], 1, features)
    saved = convnets.join(train(parts, 2, data), "saved")
    expected = to_class_probabilities(saved.predict(data.pixels, verbose=0))
    np.testing.assert_allclose(same, expected, atol=1e-3)
    assert np.abs(other - expected).max() > 5e-3
