"""A small head for a pretrained base: logistic regression on its pooled features, from where fine-tuning starts."""

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from smallset.frozen import caches, extraction
from smallset.networks import models
from smallset.pipeline import params

ITERATIONS = 1000
TINY = 1e-6  # below the root, where its slope would be endless


def head(top: keras.Model, train: caches.Cache, p: params.PooledTraining) -> keras.Model:
    """The head for a top, solved for the cached outputs of the trunk below it, all views of them."""
    made = unsolved(top.output_shape[1:], len(train.photos.classes))
    pool = keras.Model(made.input, made.layers[-1].input)
    inputs = outputs(models.chain([top, pool], "pooled"), train)
    solve(made.layers[-1], inputs, np.tile(train.labels, len(train.views)), p)
    return made


def unsolved(shape: tuple[int, ...], classes: int) -> keras.Model:
    """Map features (n, h, w, c) to probabilities, by the mean and the maximum of each channel over the photo.

    Of both the signed square root, which keeps a few strong channels from drowning the rest (power normalisation,
    Perronnin et al. 2010). 1,025 weights for VGG16's 512 channels and two classes.
    """
    features = keras.Input(shape, name="features")
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(features), layers.GlobalMaxPooling2D()(features)])
    x = x / ops.sqrt(ops.abs(x) + TINY)
    return keras.Model(features, models.probabilities(classes)(x), name="head")


def outputs(part: keras.Model, cache: caches.Cache) -> NDArray[np.float32]:
    """part(row) for every row of every view, one view after the other: (views * n, d)."""
    step, batch = extraction.compiled(part), extraction.BATCH
    pieces = (view[at : at + batch] for view in cache.views for at in range(0, len(view), batch))
    return np.concatenate([step(piece.astype(np.float32)) for piece in pieces])


def solve(last: layers.Dense, inputs: NDArray[np.float32], labels: NDArray[np.int64], p: params.PooledTraining) -> None:
    """Give the last layer the weights of logistic regression on its inputs (n, d), standardised, and labels (n,)."""
    scaler = StandardScaler().fit(inputs)
    regression = LogisticRegression(C=p.C, class_weight=p.class_weights, max_iter=ITERATIONS)
    regression.fit(scaler.transform(inputs), labels)
    kernel = (regression.coef_ / scaler.scale_).T
    last.set_weights([kernel, regression.intercept_ - scaler.mean_ @ kernel])
