"""Train the last parts of a composition on the cached outputs of the parts before, and put all of it together."""

from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset import caches, images, models, params, training
from smallset.errors import SmallsetError

CHECKED = 16  # photos for which both ways, from pixels and from the cache, are compared
TOLERANCE = 0.05  # relative; float16 storage and bfloat16 products give about 0.01, swapped colours 0.3 and more

Result = tuple[keras.Model, pd.DataFrame]


def fit(
    frozen: Sequence[keras.Model],
    tuned: Sequence[keras.Model],
    train: caches.Cache,
    validation: caches.Cache,
    p: params.Training,
    seed: int,
) -> Result:
    """Train `tuned` on cached outputs of `frozen`; return the model from pixels to probability, and its history.

    Before training and before the model is returned, both ways are compared on photos: SmallsetError when they differ.
    """
    pixels = images.first(validation.photos, CHECKED, frozen[0].input_shape[1])
    rows = validation.views[0, : len(pixels)].astype(np.float32)
    part, whole = models.chain(tuned, "tuned"), join(frozen, tuned)
    agree(models.chain(frozen, "frozen").predict(pixels, verbose=0), rows, "before training")
    history = training.fit(part, caches.load(train, p.batch, seed), caches.load(validation, p.batch), p)
    agree(whole.predict(pixels, verbose=0), part.predict(rows, verbose=0), "after training")
    return whole, history


def fit_views(
    frozen: Sequence[keras.Model],
    tuned: Sequence[keras.Model],
    train: caches.Cache,
    validation: caches.Cache,
    p: params.Training,
    seed: int,
    augment: keras.Model,
) -> Result:
    """As `fit`, on augmented views. Where none are cached, the book's way: fresh ones in each epoch, end to end."""
    if len(train.views):
        return fit(frozen, tuned, train, validation, p, seed)
    whole = join(frozen, tuned)
    size = whole.input_shape[1]
    pixels = images.load(train.photos, size, p.batch, seed), images.load(validation.photos, size, p.batch)
    return whole, training.fit(models.chain([augment, whole], "end_to_end"), *pixels, p)


def join(frozen: Sequence[keras.Model], tuned: Sequence[keras.Model]) -> keras.Model:
    """All parts as one model, of which `tuned` alone has trainable weights."""
    for part in frozen:
        part.trainable = False
    for part in tuned:
        part.trainable = True
    return models.chain([*frozen, *tuned], "smallset")


def agree(from_pixels: NDArray[np.float32], from_cache: NDArray[np.float32], when: str) -> None:
    """Raise SmallsetError when the two differ by more than float16 and bfloat16 explain."""
    error = float(np.linalg.norm(from_pixels - from_cache) / np.linalg.norm(from_cache))
    print(f"{when}: the model on pixels and on the cached rows differ by {error:.2%}")
    if not error <= TOLERANCE:
        raise SmallsetError(
            f"{when}: the model on pixels and on the cached rows should agree within {TOLERANCE:.0%}, "
            f"but differ by {error:.1%}. The cache is of other weights or preprocessing: dvc repro -f activations"
        )
