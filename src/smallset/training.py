"""Training: the book's optimizer and loss, the weights of the lowest validation loss, a history by epoch."""

import sys

import keras
import pandas as pd
import tensorflow as tf

from smallset import params

HISTORY = ["accuracy", "loss", "val_accuracy", "val_loss"]


def fit(model: keras.Model, train: tf.data.Dataset, validation: tf.data.Dataset, p: params.Training) -> pd.DataFrame:
    """Train in place, end with the weights of the epoch whose validation loss was lowest, and return the history.

    With p.ema_momentum, an exponential moving average of the weights over the steps is validated and kept.
    The history has a row for each epoch: epoch (from 1), accuracy, loss, val_accuracy, val_loss.
    """
    averaged = p.ema_momentum is not None
    optimizer = keras.optimizers.RMSprop(p.learning_rate, use_ema=averaged, ema_momentum=p.ema_momentum or 0.0)
    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if averaged else []
    callbacks.append(keras.callbacks.EarlyStopping("val_loss", patience=p.epochs, restore_best_weights=True))
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    print(f"{sum(weight.numpy().size for weight in model.trainable_weights):,} trainable weights")
    verbose = 1 if sys.stdout.isatty() else 2
    fitted = model.fit(
        train, validation_data=validation, epochs=p.epochs, callbacks=callbacks, shuffle=False, verbose=verbose
    )
    return pd.DataFrame(fitted.history)[HISTORY].rename_axis("epoch").reset_index().assign(epoch=lambda h: h.epoch + 1)
