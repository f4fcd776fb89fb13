"""Where a model's word ends: photos unlike those it was trained on, and the labels that stay possible for a photo.

Both are measured against the validation photos, and stay in the model file.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from smallset.models import convnets, engine, model_file
from smallset.pipeline import bulk
from smallset.pipeline.errors import SmallsetError

RATE = 0.01  # of false alarms: the share of photos of the trained kind that is called unlike all the same
COVERAGE = 0.95  # the share of photos whose right label is to be among those that stay possible
VARIANCE = 0.8  # of the training features, in the directions that count as known
PHOTOS = 1000  # evenly spaced ones, from which the directions are found: of more, they hardly turn
FOLDS = 5
FLOOR = 0.3  # of the median deviation, the least: a feature that hardly varies says little
TINY = 1e-6

Array = NDArray[np.float32]
Answering = Callable[[Array], NDArray[Any]]


class Said(NamedTuple):
    """What a model says of n photos."""

    probability: NDArray[np.float64]  # (n, classes)
    unlikeness: NDArray[np.float64]  # (n,), NaN where its file does not tell


@dataclass(frozen=True)
class Known:
    """The directions in which the training photos' features differ: what lies outside them is unlike the photos.

    The residual of a subspace (Wang et al. 2022, ViM, arXiv:2203.10807, without its logits), of features brought to
    length 1 and standardised. Otherwise an empty picture, with hardly any feature, would lie in the middle of all.
    """

    mean: Array  # (d,) of each feature
    scale: Array  # (d,) its deviation
    axes: Array  # (k, d), orthonormal

    def coordinates(self, features: Array) -> NDArray[Any]:
        """Where features (n, d) lie in the known directions, (n, k)."""
        return (unit(features) - self.mean) / self.scale @ self.axes.T

    def unlikeness(self, features: Array) -> NDArray[np.float64]:
        """How far features (n, d) lie outside of them, (n,): the root mean square over the features, in deviations."""
        squares = np.square((unit(features) - self.mean) / self.scale).sum(axis=1, dtype=np.float64)
        inside = np.square(self.coordinates(features)).sum(axis=1, dtype=np.float64)
        return np.sqrt(np.maximum(squares - inside, 0) / len(self.mean))


@dataclass(frozen=True)
class Limits(Known):
    """With them, what the validation photos gave, in ascending order, and the training photos in theirs."""

    usual: NDArray[np.float64]  # (m,) the unlikeness of the validation photos
    doubt: NDArray[np.float64]  # (m,) 1 - P(given label) of the validation photos
    trained: NDArray[np.float64]  # (n,) the unlikeness of each training photo to those of other folds

    def unlike(self, unlikeness: NDArray[np.float64], rate: float = RATE) -> NDArray[np.bool_]:
        """Whether photos are called unlike: of those of the trained kind a share of `rate`, in the mean.

        Of m validation photos the rate is 1 / (m + 1) at least.
        """
        return unlikeness > self.end(rate)

    def end(self, rate: float = RATE) -> float:
        """The unlikeness above which a photo is called unlike."""
        above = min(max(1, int(rate * (len(self.usual) + 1))), len(self.usual))
        return float(self.usual[-above])

    def possible(self, probability: NDArray[np.float64], coverage: float = COVERAGE) -> NDArray[np.bool_]:
        """The labels, (n, classes), that stay possible: the right one is among them for a share of `coverage`.

        Split conformal prediction by the least ambiguous sets (Sadinle et al. 2019). None stays where no label is as
        likely as the right one mostly is; all do where there are too few validation photos for the coverage. The
        guarantee is for photos that played no part; these also set the temperature, and chose among models.
        """
        rank = max(1, int(np.ceil(coverage * (len(self.doubt) + 1))))
        return 1 - probability <= (self.doubt[rank - 1] if rank <= len(self.doubt) else 1)


def fit(train: bulk.Rows, validation: bulk.Rows, probability: NDArray[np.float64], labels: NDArray[np.int64]) -> Limits:
    """From what the last layer is given of the training photos (n, d) and of the validation photos (m, d).

    probability: what the model says of the validation photos, (m, classes); labels: what they are, (m,). Of rows in a
    file only a piece is in memory at a time.
    """
    known = directions(train, np.arange(len(train)))
    doubt = 1 - probability[np.arange(len(labels)), labels]
    usual = bulk.each(known.unlikeness, validation)
    return Limits(known.mean, known.scale, known.axes, np.sort(usual), np.sort(doubt), to_others(train))


def directions(features: bulk.Rows, among: NDArray[np.int64]) -> Known:
    """Those that hold VARIANCE of these rows of features (n, d), the strongest first."""
    rows = unit(bulk.read(features, among[bulk.spread(len(among), PHOTOS)]))
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    scale = np.maximum(deviation, FLOOR * np.median(deviation)) + np.float32(TINY)
    standard = ((rows - mean) / scale).astype(np.float64)
    values, vectors = np.linalg.eigh(standard @ standard.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), VARIANCE * values.sum())) + 1
    axes = (standard.T @ vectors[:, :count] / np.sqrt(np.maximum(values[:count], np.finfo(float).tiny))).T
    return Known(mean, scale, axes.astype(np.float32))


def unit(features: Array) -> Array:
    """Rows (n, d) of length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(TINY))


def to_others(features: bulk.Rows) -> NDArray[np.float64]:
    """The unlikeness of each of n photos, by their features (n, d), to those of the other folds, (n,).

    Among its own, an odd photo would be a direction of its own.
    """
    fold = np.arange(len(features)) % FOLDS
    found = np.empty(len(features))
    for number in range(min(FOLDS, len(features))):
        known = directions(features, np.flatnonzero(fold != number))
        found[number::FOLDS] = bulk.each(known.unlikeness, features[number::FOLDS])
    return found


def load(path: Path) -> Limits | None:
    """Those that a model file has; None for one that was made without. SmallsetError where they cannot be any."""
    arrays, names = model_file.arrays(path), [field.name for field in fields(Limits)]
    if not arrays.keys() >= {*names}:
        return None
    found = Limits(*(arrays[name] for name in names))
    with model_file.whole_file(path):
        shapes = [arrays[name].shape for name in names]
        wide, many, photos = len(shapes[0]), len(found.axes), [len(shape) for shape in shapes[3:]]
        if [wide, *photos] != [1, 1, 1, 1] or shapes[1] != shapes[0] or shapes[2] != (many, *shapes[0]):
            raise ValueError(f"expected limits that fit together, found the shapes {shapes}")
        if not all(np.isfinite(arrays[name]).all() for name in names) or not len(found.usual) == len(found.doubt) > 0:
            raise ValueError("expected limits that are finite, of a photo or more")
    return found


def needed(path: Path) -> Limits:
    """Those that a model file has; SmallsetError for one that was made without."""
    found = load(path)
    if found is None:
        raise SmallsetError(
            f"{path}: does not know what its photos have in common, as linear.keras and pooled.keras of a project do. "
            f"Take one of those; where an older smallset made it, run smallset update and dvc repro."
        )
    return found


def answering(model: keras.Model, limits: Limits | None) -> Answering:
    """Pixels to P(class), unlikeness and coordinates, (n, classes + 1 + k), in one pass through the network.

    Of a model without limits unlikeness is NaN, and k is 0.
    """
    if limits is None:
        plain = engine.compiled(model)
        return lambda pixels: np.pad(convnets.per_class(plain(pixels)), ((0, 0), (0, 1)), constant_values=np.nan)
    whole, outputs = with_features(model), model.output_shape[1]
    if whole.output_shape[1] != outputs + len(limits.mean):
        raise SmallsetError("The model's file has the limits of another model. Get the file again.")
    both = engine.compiled(whole)

    def answer(pixels: Array) -> NDArray[np.float64]:
        values = both(pixels)
        probability, features = convnets.per_class(values[:, :outputs]), values[:, outputs:]
        return np.hstack([probability, limits.unlikeness(features)[:, None], limits.coordinates(features)])

    return answer


def with_features(model: keras.Model) -> keras.Model:
    """What the model gives, and what its last layer is given, in one row: (n, outputs + d)."""
    *below, head = model.layers[1:]
    x = model.input
    for part in below:
        x = part(x, training=False)
    both = keras.Model(
        head.input, keras.layers.Concatenate(name="answers")([head.output, head.layers[-1].input]), name="both"
    )
    return keras.Model(model.input, both(x), name="answers")
