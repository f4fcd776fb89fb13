"""Training keeps the epoch with the lowest validation loss, and gives the same bytes again, also after a kill."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tiny
from numpy.typing import NDArray

from smallset.images import batches
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError
from smallset.training import fitting

P = params.Training(**tiny.TRAINING | {"batch_size": 8, "epochs": 6, "learning_rate": 0.3})


@dataclass(frozen=True)
class Points:
    """Points in four dimensions, whose classes differ in the first one."""

    x: NDArray[np.float32]
    labels: NDArray[np.int64]


def points(counts: tuple[int, ...] = (32, 32)) -> Points:
    labels = np.repeat(np.arange(len(counts)), counts)
    x = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    x[:, 0] += labels
    return Points(x, labels)


def load(data: Points, batch_size: int, seed: int | None = None, start: int = 0) -> tf.data.Dataset:
    return batches.gather(lambda rows, _: data.x[rows], (4,), data.labels, batch_size, seed, start)


def network() -> keras.Model:
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


def evaluate(network: keras.Model, data: Points) -> float:
    network.compile(loss="binary_crossentropy")
    return float(network.evaluate(load(data, 8), verbose=0)[0])


def test_the_epoch_with_the_lowest_validation_loss_is_kept_also_of_averaged_weights(tmp_path: Path) -> None:
    histories = []
    for ema_momentum in (None, 0.5):
        trained = network()
        histories.append(history := fit(tmp_path, trained, ema_momentum=ema_momentum))
        assert list(history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
        assert history.epoch.tolist() == [1, 2, 3, 4, 5, 6]
        assert history.val_loss.to_numpy().argmin() < P.epochs - 1
        assert evaluate(trained, points()) == pytest.approx(history.val_loss.min(), rel=1e-4)
    plain, averaged = histories
    assert plain.loss.iloc[0] == pytest.approx(averaged.loss.iloc[0])  # the same steps in the first epoch
    assert plain.val_loss.iloc[0] != pytest.approx(averaged.val_loss.iloc[0], rel=1e-3)


def test_balanced_classes_have_the_same_influence_on_the_loss(tmp_path: Path) -> None:
    trained, rare = network(), points((60, 4))
    weighted = fit(tmp_path, trained, rare, class_weight="balanced", epochs=1)
    assert not weighted.equals(fit(tmp_path, network(), rare, epochs=1))
    parts = [Points(rare.x[rare.labels == label], rare.labels[rare.labels == label]) for label in (0, 1)]
    losses = [evaluate(trained, part) for part in parts]
    assert weighted.val_loss.iloc[0] == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_learning_rate_that_makes_the_loss_overflow_is_an_error_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match="finite losses, .* learning_rate 1e\\+30. Set a lower learning_rate"):
        fit(tmp_path, network(), learning_rate=1e30)


@pytest.mark.parametrize("patience", [1, 2])
def test_training_ends_after_patience_epochs_without_a_lower_validation_loss(tmp_path: Path, patience: int) -> None:
    complete, stopped = network(), network()
    every = fit(tmp_path, complete, epochs=12)
    lowest = every.val_loss.cummin()
    waited = np.arange(12) - [int(every.val_loss[: epoch + 1].argmin()) for epoch in range(12)]
    last = int((waited >= patience).argmax())
    assert 0 < last < 11
    history = fit(tmp_path, stopped, epochs=12, patience=patience)
    assert history.equals(every[: last + 1])
    assert evaluate(stopped, points()) == pytest.approx(lowest[last], rel=1e-4)


def test_adam_s_learning_rate_rises_for_half_an_epoch_and_then_falls_to_0() -> None:
    p = P.model_copy(update={"optimizer": "adam", "learning_rate": 1e-2, "epochs": 3})
    rates = [float(fitting.schedule(p, 8)(step)) for step in range(24 + 1)]
    assert rates.index(max(rates)) == 4
    assert max(rates) == pytest.approx(1e-2)
    assert (np.diff(rates[:5]) > 0).all()
    assert (np.diff(rates[4:]) < 0).all()
    assert [rates[0], rates[-1]] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_a_run_that_was_killed_continues_and_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    changes = {"epochs": 12, "patience": 2, "ema_momentum": 0.5, "calibrate": True, "optimizer": optimizer}
    p = P.model_copy(update=changes | ({"learning_rate": 0.5} if optimizer == "adam" else {}))

    def train(folder: Path, p: params.Training = p) -> tuple[keras.Model, pd.DataFrame]:
        keras.backend.clear_session()
        trained = network()
        run = fitting.Run(0, Checkpoint(folder / "checkpoint.npz", str(p)), folder / "history.csv")
        fitting.fit(trained, load, points(), points(), p, run)
        return trained, pd.read_csv(folder / "history.csv")

    complete, expected = train(tmp_path / "complete")
    last = len(expected)
    assert 2 < last < 12
    for killed in (2, last):  # the second one right before the end: nothing is left to train
        folder = tmp_path / str(killed)
        epochs = tiny.kill_after(killed, monkeypatch)
        with pytest.raises(tiny.KilledError):
            train(folder)
        assert len(pd.read_csv(folder / "history.csv")) == killed - 1  # it is written after every epoch
        resumed, history = train(folder)
        assert epochs == list(range(1, last + 1))
        assert history.equals(expected)
        tiny.assert_same_weights(resumed, complete)
    train(folder, P)  # other params start anew
    assert epochs[last:] == list(range(1, P.epochs + 1))


def fine_tuning(minutes: float | None) -> params.FineTuning:
    return params.FineTuning(**P.model_dump() | {"trainable": "all", "minutes": minutes})


def test_measuring_the_speed_does_not_change_a_training_that_has_enough_time(tmp_path: Path) -> None:
    trained = [network(), network()]
    for minutes, model in zip((None, 60.0), trained, strict=True):
        run = fitting.Run(0, Checkpoint(tmp_path / f"{minutes}.npz", "one"))
        fitted = fitting.fit(model, load, points(), points(), fine_tuning(minutes), run)
        assert (len(fitted.history), fitted.passes) == (6, 6.0)
    tiny.assert_same_weights(*trained)


@pytest.mark.parametrize(
    ("minutes", "epochs", "steps"),  # an epoch has 8 steps of 1 s, and 8 batches of validation photos, 0.35 s each
    [(2.0, 6, 8), (0.4, 2, 8), (0.1, 1, 4), (0.0001, 1, 1)],
)
def test_a_training_is_shortened_to_the_minutes_and_continues_with_the_same_plan(
    minutes: float,
    epochs: int,
    steps: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fitting, "_measure_step", lambda *_: 1.0)
    model, run = network(), fitting.Run(0, Checkpoint(tmp_path / "checkpoint.npz", "one"))
    fitted = fitting.fit(model, load, points(), points(), fine_tuning(minutes), run)
    assert (len(fitted.history), fitted.passes) == (epochs, epochs * steps / 8)
    assert int(model.optimizer.iterations.numpy()) == epochs * steps
    said = f"fine_tune.minutes: {minutes:g} is enough for {fitted.passes:.1f} of 6 passes over the training photos."
    assert (said in capsys.readouterr().out) == (fitted.passes < 6)
    monkeypatch.setattr(fitting, "_measure_step", lambda *_: 1e9)  # a run on a busy machine
    assert fitting.fit(network(), load, points(), points(), fine_tuning(minutes), run).history.equals(fitted.history)


def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    trained = []
    for micro_batch in (None, 2):
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid", kernel_initializer="ones")(inputs))
        run = fitting.Run(0, Checkpoint(tmp_path / f"{micro_batch}.npz", "one"))
        history = fitting.fit(model, load, points(), points(), P, run, micro_batch).history
        trained.append((history["val_loss"], model.get_weights()[0]))
    for plain, accumulated in zip(*trained, strict=True):
        np.testing.assert_allclose(accumulated, plain, rtol=1e-4)
