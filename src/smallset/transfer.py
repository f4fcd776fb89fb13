"""Train the last parts of a composition on the cached outputs of the parts before, and put all of it together."""

from collections.abc import Sequence
from functools import partial

import keras
import numpy as np
import pandas as pd

from smallset import caches, files, images, models, params, training
from smallset.errors import SmallsetError

CHECKED = 32  # photos, spread over the classes, for which both ways, from pixels and from the cache, are compared
TOLERANCE = 0.05  # float16 storage and bfloat16 products give about 0.01 of the features; swapped colours 0.3 and more

Result = tuple[keras.Model, pd.DataFrame, float]


def fit(
    frozen: Sequence[keras.Model],
    tuned: Sequence[keras.Model],
    train: caches.Cache,
    validation: caches.Cache,
    p: params.Training,
    seed: int,
    backup: files.Backup,
) -> Result:
    """Train `tuned` on cached outputs of `frozen`; return the model from pixels to probabilities, history, temperature.

    Before training and before the model is returned, both ways are compared on photos: SmallsetError when they differ.
    """
    rows = validation.photos.spread(CHECKED)
    pixels = images.pixels(validation.photos.at(rows), frozen[0].input_shape[1])
    cached = validation.views[0, rows].astype(np.float32)
    part, whole = models.chain(tuned, "tuned"), join(frozen, tuned)
    features = models.chain(frozen, "frozen").predict(pixels, verbose=0)
    agree(float(np.linalg.norm(features - cached) / np.linalg.norm(cached)), "before training, features")
    history, temperature = training.fit(part, caches.load, train, validation, p, seed, backup)
    difference = whole.predict(pixels, verbose=0) - part.predict(cached, verbose=0)
    agree(float(np.abs(difference).max(axis=1).mean()), "after training, probabilities")
    return whole, history, temperature


def fit_views(
    frozen: Sequence[keras.Model],
    tuned: Sequence[keras.Model],
    train: caches.Cache,
    validation: caches.Cache,
    p: params.Training,
    seed: int,
    backup: files.Backup,
    augment: keras.Model,
) -> Result:
    """As `fit`, on augmented views. Where none are cached, the book's way: fresh ones in each epoch, end to end."""
    if len(train.views):
        return fit(frozen, tuned, train, validation, p, seed, backup)
    whole = join(frozen, tuned)
    end_to_end = models.chain([augment, whole], "end_to_end")
    load = partial(images.load, size=whole.input_shape[1])
    return whole, *training.fit(end_to_end, load, train.photos, validation.photos, p, seed, backup)


def join(frozen: Sequence[keras.Model], tuned: Sequence[keras.Model]) -> keras.Model:
    """All parts as one model, of which `tuned` alone has trainable weights."""
    for part in frozen:
        part.trainable = False
    for part in tuned:
        part.trainable = True
        if part.name == "top":  # pretrained: its batches are too small and too alike to replace ImageNet's statistics
            freeze_normalisation(part)
    inputs = x = keras.Input(frozen[0].input_shape[1:])
    for part in frozen:
        x = part(x, training=False)  # also where the whole is trained: EfficientNet would drop some of its blocks
    for part in tuned:
        x = part(x)
    return keras.Model(inputs, x, name="smallset")


def freeze_normalisation(part: keras.Model) -> None:
    """BatchNormalization stays as it is and works as it does at prediction, as Keras runs frozen ones."""
    for layer in part.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def agree(error: float, when: str) -> None:
    """Raise SmallsetError when pixels and cache differ by more than float16 and bfloat16 explain.

    error: of features relative to their norm, of probabilities the largest difference of each photo, mean over photos.
    """
    print(f"{when}: the model on pixels and on the cached rows differ by {error:.2%}")
    if not error <= TOLERANCE:
        raise SmallsetError(
            f"{when}: the model on pixels and on the cached rows should agree within {TOLERANCE:.0%}, "
            f"but differ by {error:.1%}. The cache is of other weights or preprocessing: dvc repro -f activations"
        )
