"""Training: the book's optimizer and loss, the weights of the lowest validation loss, a history by epoch."""

import sys

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from smallset import params
from smallset.errors import SmallsetError

HISTORY = ["accuracy", "loss", "val_accuracy", "val_loss"]


def fit(
    model: keras.Model,
    train: tf.data.Dataset,
    validation: tf.data.Dataset,
    labels: NDArray[np.int64],
    p: params.Training,
) -> pd.DataFrame:
    """Train in place, end with the weights of the epoch whose validation loss was lowest, and return the history.

    With p.ema_momentum, an exponential moving average of the weights over the steps is validated and kept.
    labels: of all training photos, (n,). The history has a row for each epoch: epoch (from 1), accuracy, loss,
    val_accuracy, val_loss.
    """
    averaged = p.ema_momentum is not None
    optimizer = keras.optimizers.RMSprop(p.learning_rate, use_ema=averaged, ema_momentum=p.ema_momentum or 0.0)
    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if averaged else []
    callbacks += [
        keras.callbacks.EarlyStopping("val_loss", patience=p.epochs, restore_best_weights=True),
        keras.callbacks.TerminateOnNaN(),
    ]
    loss = "binary_crossentropy" if model.output_shape[-1] == 1 else "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"])
    print(f"{sum(weight.numpy().size for weight in model.trainable_weights):,} trainable weights")
    fitted = model.fit(
        train,
        validation_data=validation,
        epochs=p.epochs,
        callbacks=callbacks,
        class_weight=class_weights(labels) if p.class_weights == "balanced" else None,
        shuffle=False,  # the data set draws its own order
        verbose=1 if sys.stdout.isatty() else 2,
    )
    return tidy(fitted.history, p)


def class_weights(labels: NDArray[np.int64]) -> dict[int, float] | None:
    """What a photo of each class weighs in the loss, so that classes count alike; None where they do as they are."""
    counts = np.bincount(labels)
    if (counts == counts[0]).all():
        return None
    return {label: len(labels) / (len(counts) * int(count)) for label, count in enumerate(counts)}


def tidy(history: dict[str, list[float]], p: params.Training) -> pd.DataFrame:
    """Keras's history as a table; SmallsetError where the loss is no number any more."""
    if not np.isfinite(history["loss"] + history.get("val_loss", [np.nan])).all():
        raise SmallsetError(
            f"the loss is no finite number after {len(history['loss'])} epochs, at learning_rate {p.learning_rate}. "
            f"Lower this stage's learning_rate in params.yaml."
        )
    table = pd.DataFrame(history)[HISTORY]
    table.insert(0, "epoch", range(1, len(table) + 1))
    return table
