"""Training: the book's optimizer and loss, the weights of the lowest validation loss."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from smallset.images import batches
from smallset.models import precision, temperature
from smallset.pipeline import files, params, progress
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError

HISTORY = ["accuracy", "loss", "val_accuracy", "val_loss"]


class Labelled(Protocol):
    """Photos, or what a cache holds of them."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,), from 0."""


Load = Callable[..., tf.data.Dataset]  # as batches.load and caches.load: (what, batch=, seed=, start=)


@dataclass(frozen=True)
class Run:
    """One training: its seed, what a run that was killed goes on from, and where its history is written."""

    seed: int
    checkpoint: Checkpoint
    history: Path | None = None  # a CSV, whole again after every epoch: the curves can be watched


@dataclass(frozen=True)
class Fitted:
    """What a training leaves beside the weights."""

    temperature: float  # 1 where it was not fitted
    history: pd.DataFrame  # a row for each epoch: epoch (from 1), accuracy, loss, val_accuracy, val_loss


def fit(model: keras.Model, load: Load, train: Labelled, validation: Labelled, p: params.Training, run: Run) -> Fitted:
    """Train in place, and end with the weights of the epoch whose validation loss was lowest.

    With p.patience it ends after so many epochs without a lower one. With p.ema_momentum, an exponential moving average
    of the weights over the steps is validated and kept. A run that was killed goes on after the last epoch in the
    checkpoint, and ends with the same bytes as one that was not.
    load: gives the batches of `train`, endless from batch `start` with a seed, and those of `validation`, in order.
    With p.calibrate a temperature is fitted to `validation` at last.
    """
    steps = p.steps or batches.passing(len(train.labels), p.batch)
    precision.suit(model)
    compiled(model, p, steps)
    print(f"{sum(weight.numpy().size for weight in model.trainable_weights):,} trainable weights")
    keeper = Progress(model, p, run)
    done = len(keeper.history)
    rows, known = load(train, batch=p.batch, seed=run.seed, start=done * steps), load(validation, batch=p.batch)
    model.fit(
        weighted(rows, train.labels, p),
        validation_data=weighted(known, validation.labels, p),
        epochs=done if keeper.enough() else p.epochs,
        initial_epoch=done,
        steps_per_epoch=steps,
        callbacks=[*averaging(p), keras.callbacks.TerminateOnNaN(), keeper],
        shuffle=False,  # the rows have their own order
        verbose=2,
    )
    history = keeper.table()
    model.set_weights(keeper.kept)
    return Fitted(temperature.fit(model, known, validation.labels) if p.calibrate else 1.0, history)


def compiled(model: keras.Model, p: params.Training, steps: int) -> None:
    """Give the model its loss and its optimizer. steps: batches an epoch."""
    averages = {"use_ema": p.ema_momentum is not None, "ema_momentum": p.ema_momentum or 0.0}
    optimizer = (
        keras.optimizers.Adam(schedule(p, steps), epsilon=p.epsilon, **averages)
        if p.optimizer == "adam"
        else keras.optimizers.RMSprop(p.learning_rate, epsilon=p.epsilon, **averages)
    )
    loss = "binary_crossentropy" if model.output_shape[-1] == 1 else "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"])
    optimizer.build(model.trainable_variables)


def schedule(p: params.Training, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """p.learning_rate at its highest: there after half an epoch, from 0; then down to 0 along a cosine.

    Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts. The rise lets Adam's means settle first: at once at
    the full rate, the first steps undo what a pretrained network knows.
    """
    rise = max(1, steps // 2)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, p.epochs * steps - rise), warmup_target=p.learning_rate, warmup_steps=rise
    )


def averaging(p: params.Training) -> list[keras.callbacks.Callback]:
    """What puts the averaged weights in place of the others during validation."""
    return [keras.callbacks.SwapEMAWeights()] if p.ema_momentum is not None else []


def weighted(batches: tf.data.Dataset, labels: NDArray[np.int64], p: params.Training) -> tf.data.Dataset:
    """Batches with a weight for each photo, (b,), where classes are to count alike and do not by themselves."""
    weights = class_weights(labels)
    if p.class_weights != "balanced" or weights is None:
        return batches
    table = tf.constant(list(weights.values()), tf.float32)
    return batches.map(lambda x, y: (x, y, tf.gather(table, tf.cast(y[:, 0], tf.int32))))


def class_weights(labels: NDArray[np.int64]) -> dict[int, float] | None:
    """What a photo of each class weighs in the loss, so that classes count alike; None where they do as they are."""
    counts = np.bincount(labels)
    if (counts == counts[0]).all():
        return None
    return {label: len(labels) / (len(counts) * int(count)) for label, count in enumerate(counts)}


class Progress(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """The history and the weights to keep, written to a checkpoint after each epoch with all that the next one needs."""

    def __init__(self, model: keras.Model, p: params.Training, run: Run) -> None:
        super().__init__()
        self.p, self.run = p, run
        self.history: list[list[float]] = []  # a row for each epoch, of HISTORY
        self.kept: list[NDArray[np.float32]] = model.get_weights()
        if saved := run.checkpoint.read():
            self.history = saved["history"].tolist()
            self.kept = [saved[f"kept{number}"] for number in range(len(self.kept))]
            for number, variable in enumerate(variables(model)):
                variable.assign(saved[f"variable{number}"])
            print(f"after epoch {len(self.history)}, which is in {run.checkpoint.path}")
            self.show()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Show how far the epoch has come."""
        self.bar = progress.bar(total=self.params["steps"], what=f"epoch {epoch + 1}", unit=" batches", leave=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """One more."""
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002
        """Keep the weights if none before were better, and back everything up."""
        self.bar.close()
        self.history.append([logs.get(name, np.nan) for name in HISTORY])
        if self.table().val_loss.argmin() == len(self.history) - 1:
            self.kept = averaged(self.model)
        kept = {f"kept{number}": weights for number, weights in enumerate(self.kept)}
        state = {f"variable{number}": variable.numpy() for number, variable in enumerate(variables(self.model))}
        self.run.checkpoint.write({"history": np.array(self.history)} | kept | state)
        self.show()
        if self.enough():
            self.model.stop_training = True

    def enough(self) -> bool:
        """True after p.patience epochs without a lower validation loss. The history alone tells, also a resumed run."""
        if self.p.patience is None or not self.history:
            return False
        best = int(self.table().val_loss.argmin())
        return len(self.history) - 1 - best >= self.p.patience

    def show(self) -> None:
        """Write the history so far where it can be watched."""
        if self.run.history is not None:
            files.write_csv(self.run.history, self.table())

    def table(self) -> pd.DataFrame:
        """The history; SmallsetError where a loss is no number any more."""
        table = pd.DataFrame(self.history, columns=HISTORY)
        if not np.isfinite(table).all(axis=None):
            raise SmallsetError(
                f"the loss is no finite number after {len(table)} epochs, at learning_rate {self.p.learning_rate}. "
                f"Lower this stage's learning_rate in params.yaml."
            )
        table.insert(0, "epoch", range(1, len(table) + 1))
        return table


def variables(model: keras.Model) -> list[keras.Variable]:
    """All that training changes, the states of random generators and of the optimizer included."""
    return [*model.variables, *model.optimizer.variables]


def averaged(model: keras.Model) -> list[NDArray[np.float32]]:
    """The weights as they are validated: their moving averages where the optimizer has them, else as they are."""
    plain = [variable.numpy() for variable in model.trainable_weights]
    model.optimizer.finalize_variable_values(model.trainable_weights)
    weights: list[NDArray[np.float32]] = model.get_weights()
    for variable, value in zip(model.trainable_weights, plain, strict=True):
        variable.assign(value)
    return weights
