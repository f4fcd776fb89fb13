"""Train the last parts of a composition on the cached outputs of the parts before, and put all of it together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import keras
import numpy as np

from smallset.features import caches
from smallset.images import batches
from smallset.models import convnets, engine
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError
from smallset.training import fitting

TOLERANCE = 0.05  # float16 storage and bfloat16 products give about 0.01 of the features; swapped colours 0.3 and more

Parts = Sequence[keras.Model]
Result = tuple[keras.Model, fitting.Fitted]  # the model from pixels to probabilities


def fit(frozen: Parts, tuned: Parts, data: caches.Data, p: params.Training, run: fitting.Run) -> Result:
    """Train `tuned` on cached outputs of `frozen`; SmallsetError when pixels and cache differ, before or after."""
    part, whole = convnets.chain(tuned, "tuned"), join(frozen, tuned)
    with agreeing(frozen, part, whole, data):
        fitted = fitting.fit(part, caches.load, data.train, data.validation, p, run)
    return whole, fitted


def fit_views(
    frozen: Parts, tuned: Parts, data: caches.Data, p: params.Training, run: fitting.Run, augment: params.Augmentation
) -> Result:
    """As `fit`, on augmented views. Where none are cached, the book's way: fresh ones in each epoch, end to end."""
    if len(data.train.views):
        return fit(frozen, tuned, data, p, run)
    whole = join(frozen, tuned)
    load = partial(batches.load, size=whole.input_shape[1], augment=augment)
    return whole, fitting.fit(whole, load, data.train.photos, data.validation.photos, p, run)


def join(frozen: Sequence[keras.Model], tuned: Sequence[keras.Model]) -> keras.Model:
    """All parts as one model, of which `tuned` alone has trainable weights."""
    for part in frozen:
        part.trainable = False
    release(tuned)
    inputs = x = keras.Input([*frozen, *tuned][0].input_shape[1:])
    for part in frozen:
        x = part(x, training=False)  # also where the whole is trained: EfficientNet would drop some of its blocks
    for part in tuned:
        x = part(x)
    return keras.Model(inputs, x, name="smallset")


def release(tuned: Parts) -> None:
    """Make the parts trainable, as those of a model that was loaded may not be."""
    for part in tuned:
        part.trainable = True
        if part.name != "head":  # pretrained: its batches are too small and too alike to replace ImageNet's statistics
            freeze_normalisation(part)


def freeze_normalisation(part: keras.Model) -> None:
    """BatchNormalization stays as it is and works as it does at prediction, as Keras runs frozen ones.

    Also that inside of other layers, as the blocks of keras-hub's EfficientNets.
    """
    for layer in part._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


@contextmanager
def agreeing(frozen: Parts, part: keras.Model, whole: keras.Model, data: caches.Data) -> Iterator[None]:
    """Compare both ways on a few photos, before the block and after it: SmallsetError when they differ.

    part: what the block trains, on the cached outputs of `frozen`; whole: both together, from pixels on.
    """
    rows, pixels = data.checked
    cached = data.validation.views[0, rows].astype(np.float32)
    if not cached.any():
        raise SmallsetError(
            "the base gives nothing but zeros, or values that are zero in float16, for all photos that were looked at. "
            "Set base.weights to imagenet or to weights that were trained, or take another base."
        )
    features = engine.compiled(convnets.chain(frozen, "frozen"))(pixels)
    agree(float(np.linalg.norm(features - cached) / np.linalg.norm(cached)), "before training, features")
    yield
    difference = whole.predict(pixels, verbose=0) - part.predict(cached, verbose=0)
    agree(float(np.abs(difference).max(axis=1).mean()), "after training, probabilities")


def agree(error: float, when: str) -> None:
    """Raise SmallsetError when pixels and cache differ by more than float16 and bfloat16 explain.

    error: of features relative to their norm, of probabilities the largest difference of each photo, mean over photos.
    """
    print(f"{when}: the model on pixels and on the cached rows differ by {error:.2%}")
    if not error <= TOLERANCE:
        raise SmallsetError(
            f"{when}: the model on pixels and on the cached rows should agree within {TOLERANCE:.0%}, "
            f"but differ by {error:.1%}. The cache is damaged, or of other weights. Run: smallset check --fix. If that "
            f"finds nothing, move what the stage is trained on, as data/larger, away. Then: dvc repro"
        )
