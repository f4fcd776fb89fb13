"""Photos that the training has not seen as a reference: OOD scores that flag unknown ones, and prediction sets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline.errors import SmallsetError

OOD_RATE = 0.01  # the share of ordinary photos that is flagged as unknown
COVERAGE = 0.95  # the share of photos, of every class, whose prediction set contains the true label
VARIANCE = 0.8  # the share of the training features' variance that the axes explain
SAMPLE = 1000  # evenly spaced photos that determine the axes: more photos hardly change them
FOLDS = 5
MIN_SCALE = 0.3  # of the median deviation: features that hardly vary would dominate otherwise
TINY = 1e-6
ROUNDING = 1e-9  # of coverage * 20, which is 19 for 0.95
MIN_PHOTOS = 19  # of a class, for calibration: fewer do not guarantee the usual COVERAGE, and are pooled
CHUNK = 1024  # rows that are converted to float32 at once
OLD_NAMES = {"ood_scores": "usual", "nonconformity_scores": "doubt"}  # in the files of smallset 0.2

Array = NDArray[np.float32]
Rows = NDArray[np.floating]  # float16 or float32
Scores = NDArray[np.float64]
NONE: Any = np.zeros(0)


@dataclass(frozen=True)
class Reference:
    """The directions in which the features of the training photos vary, and the scores of other photos.

    The OOD score of a photo is the length of its residual outside these directions (Wang et al. 2022, ViM,
    arXiv:2203.10807, without the logits). Features are scaled to length 1 first: a picture with hardly any features
    would be near the mean of all photos otherwise.
    """

    mean: Array  # (d,) of each feature
    scale: Array  # (d,) its standard deviation
    axes: Array  # (k, d) orthonormal directions
    ood_scores: Scores  # (m,) of the validation photos, ascending
    nonconformity_scores: Scores  # (n,) 1 - P(true label) of the calibration photos, ascending
    nonconformity_labels: NDArray[np.int64]  # (n,) their labels; -1 in the files of smallset 0.2, which lack them

    @classmethod
    def from_scores(cls, ood_scores: Scores, probabilities: Scores, labels: NDArray[np.int64]) -> "Reference":
        """Build a reference without directions; probabilities (n, classes) and labels (n,): of calibration photos."""
        scores = 1 - probabilities[np.arange(len(labels)), labels]
        order = np.argsort(scores, kind="stable")
        return cls(NONE, NONE, NONE, np.sort(ood_scores), scores[order], np.asarray(labels, np.int64)[order])

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], classes: int) -> "Reference | None":
        """The reference in the arrays of the file of a model with so many classes; None when it has none."""
        present = {name: arrays.get(name, arrays.get(OLD_NAMES.get(name, ""))) for name in cls.__dataclass_fields__}
        scores = present["nonconformity_scores"]
        if present["nonconformity_labels"] is None and scores is not None:
            present["nonconformity_labels"] = np.full(scores.shape, -1)
        values = [array for array in present.values() if array is not None]
        if len(values) < len(present):
            return None
        shapes = [array.shape for array in values]
        width, ordinary, calibrating = shapes[0], shapes[3], shapes[4]
        expected = [width, width, (*shapes[2][:1], *width), ordinary, calibrating, calibrating]
        if shapes != expected or not len(width) == len(ordinary) == len(calibrating) == 1:
            raise SmallsetError(f"expected reference scores of matching shapes, found {shapes}.")
        if not ordinary[0] or not all(np.isfinite(array).all() for array in values):
            raise SmallsetError("expected finite reference scores of at least one photo.")
        labels = values[5]
        if labels.dtype.kind != "i" or not ((labels >= -1) & (labels < classes)).all():
            raise SmallsetError(f"expected reference scores of {classes} classes, found labels up to {labels.max()}.")
        return cls(*values)

    def coordinates(self, features: Rows) -> Array:
        """The positions of features (n, d) in the directions, (n, k)."""
        return self._standardize(features) @ self.axes.T

    def ood_score(self, features: Rows) -> Scores:
        """The residuals of features (n, d), (n,): root mean square over the features, in standard deviations."""
        chunks = (features[start : start + CHUNK] for start in range(0, len(features), CHUNK))
        return np.concatenate([NONE, *map(self._residual, chunks)])

    def threshold(self, ood_rate: float = OOD_RATE) -> float:
        """The OOD score above which a photo is unknown. The rate cannot be lower than 1 / (m + 1)."""
        above = min(max(1, int(ood_rate * (len(self.ood_scores) + 1))), len(self.ood_scores))
        return float(self.ood_scores[-above])

    def is_unknown(self, ood_score: Scores | float, ood_rate: float = OOD_RATE) -> NDArray[np.bool_]:
        """Whether photos are unknown. On average this flags a share of `ood_rate` of the ordinary photos, too."""
        return np.asarray(ood_score) > self.threshold(ood_rate)

    def prediction_set(self, probabilities: Scores, coverage: float = COVERAGE) -> NDArray[np.bool_]:
        """Select labels, (n, classes), so that a share of `coverage` of the sets contains the true label.

        This holds for the photos of every class with MIN_PHOTOS for calibration, and for those of all others together.

        A set is empty when no label is as probable as true labels of its class usually are.
        """
        return 1 - probabilities <= self.thresholds(probabilities.shape[-1], coverage)

    def thresholds(self, classes: int, coverage: float = COVERAGE) -> Scores:
        """The highest 1 - P(label) with which a label is in a prediction set, (classes,).

        This is split conformal prediction with least ambiguous sets, for each class (Sadinle et al. 2019). Classes with
        fewer than MIN_PHOTOS for calibration have the threshold of all of them together. A threshold for which there
        are too few photos is 1, so that each set contains the label.
        """
        few = self.count_photos(classes) < MIN_PHOTOS
        pools = np.append(np.where(few, classes, np.arange(classes)), classes)  # the last one is for the label -1
        pool = pools[self.nonconformity_labels]
        sizes = np.bincount(pool, minlength=classes + 1)
        ranks = np.maximum(1, np.ceil(coverage * (sizes + 1) - ROUNDING).astype(np.int64))
        order = np.argsort(pool, kind="stable")  # pool by pool, ascending in each of them
        positions = np.where(ranks <= sizes, np.cumsum(sizes) - sizes + ranks - 1, -1)
        return np.append(self.nonconformity_scores[order], 1.0)[positions][pools[:classes]]

    def count_photos(self, classes: int) -> NDArray[np.int64]:
        """The number of calibration photos of each class, (classes,)."""
        return np.bincount(self.nonconformity_labels + 1, minlength=classes + 1)[1:]

    def _standardize(self, features: Rows) -> Array:
        return (_unit(features) - self.mean) / self.scale

    def _residual(self, features: Rows) -> Scores:
        standard = self._standardize(features)
        total = np.square(standard).sum(axis=1, dtype=np.float64)
        explained = np.square(standard @ self.axes.T).sum(axis=1, dtype=np.float64)
        return np.sqrt(np.maximum(total - explained, 0) / len(self.mean))


def fit_reference(
    train_features: Rows, validation_features: Rows, probabilities: Scores, labels: NDArray[np.int64]
) -> Reference:
    """Fit the directions to the training photos, and score the validation photos.

    Args:
        train_features: (n, d) The input of the network's last layer, without mirror images.
        validation_features: (m, d) The same for the validation photos.
        probabilities: (k, classes) Predictions for photos that did not train what predicts them.
        labels: (k,) Their labels.
    """
    directions = _fit_directions(train_features, np.arange(len(train_features)))
    scores = Reference.from_scores(directions.ood_score(validation_features), probabilities, labels)
    return replace(scores, mean=directions.mean, scale=directions.scale, axes=directions.axes)


def score_out_of_fold(features: Rows) -> Scores:
    """The OOD score of each photo, (n,), from its features (n, d) and directions that are fitted to the other folds.

    Directions that are fitted to an unusual photo as well would explain it.
    """
    fold, scores = np.arange(len(features)) % FOLDS, np.empty(len(features))
    for number in range(min(FOLDS, len(features))):
        directions = _fit_directions(features, np.flatnonzero(fold != number))
        scores[number::FOLDS] = directions.ood_score(features[number::FOLDS])
    return scores


def _fit_directions(features: Rows, rows: NDArray[np.int64]) -> Reference:
    """The strongest principal axes of the standardized rows that explain VARIANCE together, without any scores."""
    unit = _unit(features[rows[np.unique(np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64))]])
    mean, deviation = unit.mean(axis=0), unit.std(axis=0)
    scale = np.maximum(deviation, MIN_SCALE * np.median(deviation)) + np.float32(TINY)
    standard = ((unit - mean) / scale).astype(np.float64)
    values, vectors = np.linalg.eigh(standard @ standard.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), VARIANCE * values.sum())) + 1
    axes = (standard.T @ vectors[:, :count] / np.sqrt(np.maximum(values[:count], np.finfo(float).tiny))).T
    return Reference(mean, scale, axes.astype(np.float32), NONE, NONE, NONE)


def _unit(features: Rows) -> Array:
    values = np.asarray(features, np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.float32(TINY))
