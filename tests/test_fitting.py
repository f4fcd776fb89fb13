"""Training keeps the epoch of the lowest validation loss, repeats to the bit, and goes on to the bit when killed."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from networks import BOOK
from numpy.typing import NDArray

from smallset.datasets import lists
from smallset.images import batches
from smallset.models import convnets
from smallset.pipeline import checkpoints, params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError
from smallset.training import fitting

P = params.Training(
    batch=8, epochs=6, learning_rate=0.3, epsilon=1e-7, ema_momentum=None, class_weights=None, calibrate=False
)
SIZE = 78


@dataclass(frozen=True)
class Points:
    """Points in four dimensions, to be told apart by the first."""

    x: NDArray[np.float32]
    labels: NDArray[np.int64]


def points(counts: tuple[int, ...] = (32, 32)) -> Points:
    labels = np.repeat(np.arange(len(counts)), counts)
    x = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    x[:, 0] += labels
    return Points(x, labels)


def load(data: Points, batch: int, seed: int | None = None, start: int = 0) -> tf.data.Dataset:
    def gather(number: np.int64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = batches.rows(int(number), len(data.labels), batch, seed)
        return data.x[rows], data.labels[rows, None].astype(np.float32)

    def shaped(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(gather, [number], (tf.float32, tf.float32))
        return tf.ensure_shape(x, (None, 4)), tf.ensure_shape(y, (None, 1))

    return batches.numbers(len(data.labels), batch, seed, start).map(shaped)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(32, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))


def fit(folder: Path, network: keras.Model, data: Points | None = None, **changes: Any) -> pd.DataFrame:
    checkpoint = Checkpoint(folder / "checkpoint.npz", "one")
    p = P.model_copy(update=changes)
    history = folder / "history.csv"
    fitting.fit(network, load, data or points(), data or points(), p, fitting.Run(0, checkpoint, history))
    checkpoint.remove()
    return pd.read_csv(history)


@pytest.mark.parametrize("ema_momentum", [None, 0.5])
def test_the_epoch_with_the_lowest_validation_loss_is_kept(tmp_path: Path, ema_momentum: float | None) -> None:
    trained = model()
    history = fit(tmp_path, trained, ema_momentum=ema_momentum)
    assert list(history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch.tolist() == [1, 2, 3, 4, 5, 6]
    trained.compile(loss="binary_crossentropy")
    assert history.val_loss.to_numpy().argmin() < P.epochs - 1
    assert trained.evaluate(load(points(), 8), verbose=0)[0] == pytest.approx(history.val_loss.min(), rel=1e-4)


def test_the_history_can_be_watched_epoch_by_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = fitting.Progress.on_epoch_end

    def end(self: fitting.Progress, epoch: int, logs: dict[str, float]) -> None:
        plain(self, epoch, logs)
        seen.append(len(pd.read_csv(tmp_path / "history.csv")))

    monkeypatch.setattr(fitting.Progress, "on_epoch_end", end)
    fit(tmp_path, model(), epochs=3)
    assert seen == [1, 2, 3]


def test_averaged_weights_are_not_the_plain_ones(tmp_path: Path) -> None:
    plain, averaged = (fit(tmp_path, model(), ema_momentum=momentum) for momentum in (None, 0.9))
    assert plain.loss.iloc[0] == pytest.approx(averaged.loss.iloc[0])  # the same steps in the first epoch
    assert plain.val_loss.iloc[0] != pytest.approx(averaged.val_loss.iloc[0], rel=1e-3)


def test_one_seed_gives_one_result(tmp_path: Path) -> None:
    first, second = (model() for _ in range(2))
    assert fit(tmp_path, first).equals(fit(tmp_path, second))
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


def test_classes_count_alike_however_many_photos_they_have(tmp_path: Path) -> None:
    assert fitting.class_weights(np.array([0, 0, 0, 1, 2, 2])) == {0: 2 / 3, 1: 2.0, 2: 1.0}
    assert fitting.class_weights(points().labels) is None
    trained, rare = model(), points((60, 4))
    weighted, plain = (fit(tmp_path, trained, rare, class_weights=way, epochs=1) for way in (None, "balanced"))
    assert not weighted.equals(plain)
    trained.compile(loss="binary_crossentropy")
    both = [points((60, 0)), Points(rare.x[60:], rare.labels[60:])]
    losses = [trained.evaluate(load(one, 8), verbose=0)[0] for one in (Points(rare.x[:60], rare.labels[:60]), both[1])]
    assert plain.val_loss.iloc[0] == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_rate_at_which_the_loss_overflows_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(
        SmallsetError, match="no finite number .* learning_rate 1e\\+30. Lower this stage's learning_rate"
    ):
        fit(tmp_path, model(), learning_rate=1e30)


def test_steps_make_epochs_of_the_photos_again_and_again(tmp_path: Path) -> None:
    one, other = model(), model()
    history = fit(tmp_path, one, steps=16, epochs=2, learning_rate=1e-3)  # 8 batches of 8 points are a pass
    twice = fit(tmp_path, other, epochs=4, learning_rate=1e-3)
    assert history.val_loss.iloc[1] == twice.val_loss.iloc[3]


@pytest.mark.parametrize("patience", [1, 2])
def test_training_ends_after_so_many_epochs_without_a_lower_validation_loss(tmp_path: Path, patience: int) -> None:
    whole, stopped = model(), model()
    every = fit(tmp_path, whole, epochs=12)
    lowest = every.val_loss.cummin()
    waited = np.arange(12) - [int(every.val_loss[: epoch + 1].argmin()) for epoch in range(12)]
    last = int((waited >= patience).argmax())
    assert 0 < last < 11
    history = fit(tmp_path, stopped, epochs=12, patience=patience)
    assert history.equals(every[: last + 1])
    stopped.compile(loss="binary_crossentropy")
    assert stopped.evaluate(load(points(), 8), verbose=0)[0] == pytest.approx(lowest[last], rel=1e-4)


class KilledError(Exception):
    """As if the process had ended."""


def train(folder: Path, document: Any, found: lists.Photos, **changes: Any) -> tuple[keras.Model, pd.DataFrame]:
    """A tiny convnet with everything that draws at random: augmentation, dropout, order; and averaged weights."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    load = partial(batches.load, size=SIZE, augment=params.parse(document).augmentation)
    network = convnets.convnet(SIZE, 2, BOOK.model_copy(update={"dropout": 0.5}))
    p = P.model_copy(update={"batch": 4, "epochs": 4, "learning_rate": 1e-3, "ema_momentum": 0.9} | changes)
    checkpoint = Checkpoint(folder / "checkpoint.npz", str(p))
    history = folder / "history.csv"
    fitting.fit(network, load, found, found, p, fitting.Run(1, checkpoint, history))
    return network, pd.read_csv(history)


def test_adam_s_rate_rises_for_half_an_epoch_and_then_falls_to_nothing() -> None:
    p = P.model_copy(update={"optimizer": "adam", "learning_rate": 1e-2, "epochs": 3})
    rates = [float(fitting.schedule(p, 8)(step)) for step in range(24 + 1)]
    assert rates.index(max(rates)) == 4
    assert max(rates) == pytest.approx(1e-2)
    assert (np.diff(rates[:5]) > 0).all()
    assert (np.diff(rates[4:]) < 0).all()
    assert [rates[0], rates[-1]] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "optimizer"), [(4, "rmsprop"), (None, "adam")])
def test_a_run_that_was_killed_goes_on_to_the_bit(
    tmp_path: Path,
    drawn: lists.Photos,
    document: Any,
    monkeypatch: pytest.MonkeyPatch,
    steps: int | None,
    optimizer: str,
) -> None:
    whole, expected = train(tmp_path / "whole", document, drawn, steps=steps, optimizer=optimizer)
    write = Checkpoint.write

    def kill(checkpoint: Checkpoint, arrays: checkpoints.Arrays) -> None:
        if len(arrays["history"]) == 3:
            raise KilledError
        write(checkpoint, arrays)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Checkpoint, "write", kill)
        train(tmp_path, document, drawn, steps=steps, optimizer=optimizer)
    epochs: list[int] = []
    monkeypatch.setattr(Checkpoint, "write", lambda _, arrays: epochs.append(len(arrays["history"])))
    assert len(pd.read_csv(tmp_path / "history.csv")) == 2  # the epochs that the checkpoint has
    resumed, history = train(tmp_path, document, drawn, steps=steps, optimizer=optimizer)
    assert epochs == [3, 4]
    assert history.equals(expected)
    for one, other in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    train(tmp_path, document, drawn, steps=steps, learning_rate=1e-4)
    assert epochs == [3, 4, 1, 2, 3, 4]


def ending(folder: Path, killed: int | None = None, **changes: Any) -> tuple[keras.Model, pd.DataFrame, list[int]]:
    """A training on points with patience, killed once `killed` epochs are in the checkpoint; and the epochs it wrote."""
    keras.backend.clear_session()
    network, write, written = model(), Checkpoint.write, []
    p = P.model_copy(update={"epochs": 12, "patience": 2, "ema_momentum": 0.5, "calibrate": True} | changes)
    checkpoint = Checkpoint(folder / "checkpoint.npz", "one")

    def kill(checkpoint: Checkpoint, arrays: checkpoints.Arrays) -> None:
        write(checkpoint, arrays)
        written.append(len(arrays["history"]))
        if written[-1] == killed:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "write", kill)
        fitting.fit(network, load, points(), points(), p, fitting.Run(0, checkpoint, folder / "history.csv"))
    return network, pd.read_csv(folder / "history.csv"), written


@pytest.mark.slow
def test_a_killed_run_with_patience_ends_where_one_that_was_not_does(tmp_path: Path) -> None:
    whole, expected, written = ending(tmp_path / "whole")
    last = len(expected)
    assert 2 < last < 12
    assert written == list(range(1, last + 1))
    for killed in (1, last):  # the last time right before the end: nothing is left to train
        folder = tmp_path / str(killed)
        with pytest.raises(KilledError):
            ending(folder, killed)
        resumed, history, written = ending(folder)
        assert written == list(range(killed + 1, last + 1))
        assert history.equals(expected)
        for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
