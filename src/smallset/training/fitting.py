"""Training: a loop over epochs that keeps the weights with the lowest validation loss and continues after a kill."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.images import batches
from smallset.models import calibration, precision
from smallset.models.classifier import Classifier
from smallset.pipeline import files, params, progress
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError

METRICS = ["accuracy", "loss", "val_accuracy", "val_loss"]
TRIAL = 3  # steps that measure how long a step takes
VALIDATION = 0.35  # the time of a batch without training, as a share of a step


class Labelled(Protocol):
    """Photos, or a cache of what a network returns for them."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each photo, (n,), from 0."""


Load = Callable[..., tf.data.Dataset]  # (photos, batch_size=, seed=, start=), as batches.load and activations.load


@dataclass(frozen=True)
class Run:
    """The seed of a training, where it continues after a kill, and the CSV file that has its history so far."""

    seed: int
    checkpoint: Checkpoint
    history: Path | None = None


@dataclass(frozen=True)
class Fitted:
    """The result of a training.

    Attributes:
        temperature: What the logits have been divided by.
        history: One row per epoch: epoch, accuracy, loss, val_accuracy, val_loss.
        passes: How often the training photos were planned to be used: p.epochs, or less when p.minutes is too short.
    """

    temperature: float
    history: pd.DataFrame
    passes: float


def fit(
    network: keras.Model,
    load: Load,
    train: Labelled,
    validation: Labelled,
    p: params.Training,
    run: Run,
    micro_batch: int | None = None,
) -> Fitted:
    """Train a network in place; it ends with the weights of the epoch that had the lowest validation loss.

    With p.ema_momentum, the exponential moving average of the weights over the steps is validated and kept. A run that
    was killed continues after the last epoch of its checkpoint, and ends with the same bytes as one that was not.

    Args:
        network: Returns probabilities, (n, 1) from a sigmoid or (n, classes) from a softmax.
        load: Returns batches of inputs and labels (b, 1): endless ones from batch `start` for a seed, else one pass.
        train: What `load` takes for the training photos.
        validation: The same for the validation photos, which also fit the temperature.
        p: The keys of the model in params.yaml.
        run: The seed, the checkpoint and the history file.
        micro_batch: The gradient of a batch is the mean of those of micro-batches of this size, one after the other.
            This saves memory, and changes no more than rounding if the network has no batch statistics.
    """
    size = micro_batch if micro_batch and p.batch_size % micro_batch == 0 else p.batch_size
    steps = one_pass = batches.passing(len(train.labels), size)
    precision.suit(network)
    _compile(network, p, steps, size)
    print(f"{sum(weight.numpy().size for weight in network.trainable_weights):,} trainable weights")
    if isinstance(p, params.FineTuning) and p.minutes:
        p, steps = shorten(network, load, train, validation, p, run, size)
    keeper = Keeper(network, p, run)
    epochs_done = len(keeper.metrics)
    training_batches = load(train, batch_size=size, seed=run.seed, start=epochs_done * steps)
    validation_batches = load(validation, batch_size=size)
    averaging = [keras.callbacks.SwapEMAWeights()] if p.ema_momentum is not None else []
    network.fit(
        _weight(training_batches, train.labels, p),
        validation_data=_weight(validation_batches, validation.labels, p),
        epochs=epochs_done if keeper.out_of_patience() else p.epochs,
        initial_epoch=epochs_done,
        steps_per_epoch=steps,
        callbacks=[*averaging, keras.callbacks.TerminateOnNaN(), keeper],
        shuffle=False,  # `load` has shuffled the photos
        verbose=2,
    )
    history = keeper.table()
    network.set_weights(keeper.best)
    temperature = calibration.calibrate(network, validation_batches, validation.labels) if p.calibrate else 1.0
    return Fitted(temperature, history, passes=p.epochs * steps / one_pass)


def shorten(
    network: keras.Model, load: Load, train: Labelled, validation: Labelled, p: params.FineTuning, run: Run, size: int
) -> tuple[params.FineTuning, int]:
    """Plan a training that takes p.minutes or less: p with its number of epochs, and their steps of `size` photos.

    A few steps measure the speed; the network is then as it was. Epochs are left out first. If not even one fits, it
    has fewer steps. The plan is kept in a checkpoint, because a run that was killed continues with the same.
    """
    steps, checkpoint = batches.passing(len(train.labels), size), run.checkpoint.beside("plan")
    if not (plan := checkpoint.read()):
        before = [variable.numpy() for variable in _variables(network)]
        seconds = _measure_step(network, _weight(load(train, batch_size=size, seed=run.seed), train.labels, p))
        for variable, value in zip(_variables(network), before, strict=True):
            variable.assign(value)
        one_epoch = seconds * (steps + VALIDATION * batches.passing(len(validation.labels), size))
        epochs = 60 * (p.minutes or np.inf) / one_epoch
        plan = {"epochs": np.clip(int(epochs), 1, p.epochs), "steps": np.array(max(1, int(steps * min(1, epochs))))}
        checkpoint.write(plan)
    shorter = p.model_copy(update={"epochs": int(plan["epochs"])}), int(plan["steps"])
    if shorter != (p, steps):
        passes = f"{shorter[0].epochs * shorter[1] / steps:.1f} of {p.epochs} passes over the training photos"
        print(f"fine_tune.minutes: {p.minutes:g} is enough for {passes}. More minutes might lower the validation loss.")
        _compile(network, *shorter, size)
    return shorter


def _measure_step(network: keras.Model, photos: tf.data.Dataset) -> float:
    """The time of one training step in s. The first call of fit is not measured, because it builds the graph."""
    network.fit(photos, steps_per_epoch=1, shuffle=False, verbose=0)
    started = time.perf_counter()
    network.fit(photos, steps_per_epoch=TRIAL, shuffle=False, verbose=0)
    return (time.perf_counter() - started) / TRIAL


def save(network: keras.Model, fitted: Fitted, dataset: Dataset, run: Run, output: Path) -> None:
    """Write the trained network as a classifier that lists the photos it has seen, and remove the checkpoint."""
    seen = frozenset(dataset.train.sha256 + dataset.validation.sha256)
    Classifier(network, dataset.classes, fitted.temperature, seen).save(output)
    run.checkpoint.remove()


def schedule(p: params.Training, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Adam's learning rate: from 0 to p.learning_rate in half an epoch, then along a cosine to 0 (arXiv:1608.03983)."""
    warmup = max(1, steps // 2)  # at the full rate, the first steps would destroy what a pretrained network knows
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, p.epochs * steps - warmup), warmup_target=p.learning_rate, warmup_steps=warmup
    )


def _compile(network: keras.Model, p: params.Training, steps: int, size: int) -> None:
    settings: dict[str, Any] = {"use_ema": p.ema_momentum is not None, "ema_momentum": p.ema_momentum or 0.0}
    settings |= {"gradient_accumulation_steps": p.batch_size // size if size < p.batch_size else None}
    if p.optimizer == "adam":
        optimizer = keras.optimizers.Adam(schedule(p, steps), **settings)
    else:
        optimizer = keras.optimizers.RMSprop(p.learning_rate, **settings)
    loss = "binary_crossentropy" if network.output_shape[-1] == 1 else "sparse_categorical_crossentropy"
    network.compile(optimizer, loss, metrics=["accuracy"])
    optimizer.build(network.trainable_variables)


def _weight(photos: tf.data.Dataset, labels: NDArray[np.int64], p: params.Training) -> tf.data.Dataset:
    """Add a weight to each photo that gives all classes the same influence on the loss, if p says so."""
    counts = np.bincount(labels)
    if p.class_weight is None or (counts == counts[0]).all():
        return photos
    weights = tf.constant(len(labels) / (len(counts) * np.maximum(counts, 1)), tf.float32)
    return photos.map(lambda x, y: (x, y, tf.gather(weights, tf.cast(y[:, 0], tf.int32))))


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps the best weights, and writes all that the next epoch needs to the checkpoint."""

    def __init__(self, network: keras.Model, p: params.Training, run: Run) -> None:
        super().__init__()
        self.p, self.run = p, run
        self.metrics: list[list[float]] = []  # for each epoch the values of METRICS
        self.best: list[NDArray[np.float32]] = network.get_weights()
        if saved := run.checkpoint.read():
            self.metrics = saved["history"].tolist()
            self.best = [saved[f"best{number}"] for number in range(len(self.best))]
            for number, variable in enumerate(_variables(network)):
                variable.assign(saved[f"variable{number}"])
            print(f"Continuing after epoch {len(self.metrics)}, which {run.checkpoint.path} contains")
            self._write_history()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002, D102
        self.bar = progress.bar(total=self.params["steps"], what=f"epoch {epoch + 1}", unit=" batches", leave=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002, D102
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:  # noqa: ARG002, D102
        self.bar.close()
        self.metrics.append([logs.get(name, np.nan) for name in METRICS])
        if self.table()["val_loss"].argmin() == len(self.metrics) - 1:
            self.best = _validated_weights(self.model)
        best = {f"best{number}": weights for number, weights in enumerate(self.best)}
        state = {f"variable{number}": variable.numpy() for number, variable in enumerate(_variables(self.model))}
        self.run.checkpoint.write({"history": np.array(self.metrics)} | best | state)
        self._write_history()
        if self.out_of_patience():
            self.model.stop_training = True

    def out_of_patience(self) -> bool:
        """Whether the last p.patience epochs did not lower the validation loss."""
        if self.p.patience is None or not self.metrics:
            return False
        return len(self.metrics) - 1 - int(self.table()["val_loss"].argmin()) >= self.p.patience

    def table(self) -> pd.DataFrame:
        """The history; SmallsetError when a loss is not finite."""
        table = pd.DataFrame(self.metrics, columns=METRICS)
        if not np.isfinite(table).all(axis=None):
            raise SmallsetError(
                f"Expected finite losses, found NaN or infinity in epoch {len(table)} with learning_rate "
                f"{self.p.learning_rate}. Set a lower learning_rate for this stage in params.yaml."
            )
        table.insert(0, "epoch", range(1, len(table) + 1))
        return table

    def _write_history(self) -> None:
        if self.run.history is not None:
            files.write_csv(self.run.history, self.table())


def _variables(network: keras.Model) -> list[keras.Variable]:
    """All that training changes, including the states of random generators and of the optimizer."""
    return [*network.variables, *network.optimizer.variables]


def _validated_weights(network: keras.Model) -> list[NDArray[np.float32]]:
    """The weights that were validated: the optimizer's moving averages if it has them."""
    plain = [variable.numpy() for variable in network.trainable_weights]
    network.optimizer.finalize_variable_values(network.trainable_weights)
    weights: list[NDArray[np.float32]] = network.get_weights()
    for variable, value in zip(network.trainable_weights, plain, strict=True):
        variable.assign(value)
    return weights
