"""The linear probe: logistic regression on the features of a frozen backbone. Importing it does not need TensorFlow."""
# ruff: noqa: N803, N806 - scikit-learn's names

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from smallset.datasets.dataset import Dataset
from smallset.features.store import Features, sample
from smallset.models import calibration, reference
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    import keras

    from smallset.models.classifier import Classifier

MAX_ROWS = 50_000  # training rows in memory; of more, it takes a stratified sample and prints one line
MAX_ITERATIONS = 1000
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # for notebooks; pipelines have C in their params
MAX_FOLDS = 5  # of the photos that calibrate the probe
CHECKED = 32  # validation photos for which the network on pixels is compared with the features

Rows = NDArray[np.floating]
Labels = NDArray[np.int64]
Array = NDArray[np.float64]
HeldOut = tuple[Array, Labels]  # logits or probabilities (n, classes) and labels (n,) of photos that trained nothing


class LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Logistic regression on standardized features: a scikit-learn estimator.

    Args:
        C: The inverse strengths of the L2 penalty to try; the one with the lowest validation loss is selected.
        class_weight: "balanced" gives all classes the same influence, None gives it to all photos.
        calibrate: Fit a temperature and a bias for each class, which make the probabilities reliable also where classes
            are rare. `Features` fit them out of fold: to training and validation photos, and probes of the others.
        class_prior: The shares of the classes for which the probabilities hold: those of the `training` photos, `equal`
            ones, or a dictionary with the share of each class.

    Attributes:
        classes_: (classes,) The labels in the order of the probabilities.
        coef_: (k, d) and intercept_: (k,) For features that are not standardized; k is 1 for two classes.
        C_: The selected C.
        scaling_: The temperature that coef_ and intercept_ have been divided by, and the bias, (classes,), that has
            been added to the logits.
        held_out_: What calibrated the probe: P(class), (n, classes), of photos that did not train what predicts them,
            and their labels (n,); None without such photos.
        search_: One row per C: C, val_loss and val_accuracy (before the calibration), selected.

    Examples:
        >>> probe = smallset.LinearProbe().fit(features)
        >>> probe.predict_proba(features.of("test")).shape == (len(photos.test), 2)
        True
        >>> classifier = probe.to_classifier(features)
        The features from pixels and those from cached values differ by ...
    """

    def __init__(
        self,
        C: float | Sequence[float] = STRENGTHS,
        class_weight: Literal["balanced"] | None = "balanced",
        calibrate: bool = True,
        class_prior: str | Mapping[str, float] = "training",
    ) -> None:
        self.C, self.class_weight, self.calibrate, self.class_prior = C, class_weight, calibrate, class_prior

    def fit(
        self,
        X: Rows | Features,
        y: Labels | None = None,
        X_validation: Rows | None = None,
        y_validation: Labels | None = None,
    ) -> "LinearProbe":
        """Fit features X (n, d) and labels y (n,), or `Features`, which contain training and validation photos.

        ValueError when validation photos are needed and missing.
        """
        if isinstance(X, Features):
            if missing := sorted({*X.dataset.classes} - {*X.dataset.train.table["label"]}):
                names = ", ".join(missing[:6])
                raise SmallsetError(f"Expected training photos of each class, found none of {names}. Leave them out.")
            solution, held_out = self._select(*X.training(), X.of("validation"), X.dataset.validation.labels)
            if self.calibrate:
                held_out = predict_out_of_fold(X, self.C_, self.class_weight)
            trained, classes = X.dataset.train.labels, X.dataset.classes
        elif y is None:
            raise ValueError("Expected the labels y of the rows X, found None.")
        else:
            solution, held_out = self._select(X, y, X_validation, y_validation)
            trained, classes = np.searchsorted(self.classes_, y), tuple(self.classes_)
        scaling = calibration.Scaling(1.0, np.zeros(len(classes)))
        if self.calibrate and held_out:
            scaling = calibration.fit_scaling(*held_out)
        self.scaling_ = scaling.shift(calibration.prior_bias(self.class_prior, trained, classes))
        self.held_out_ = (self.scaling_.apply(held_out[0]), held_out[1]) if held_out else None
        self.coef_, self.intercept_ = self.scaling_.scale(*solution)
        return self

    def _select(
        self, X: Rows, y: Labels, X_validation: Rows | None, y_validation: Labels | None
    ) -> tuple[tuple[Array, Array], HeldOut | None]:
        """Select C; return coefficients and intercept, and logits and labels of the validation photos."""
        candidates = np.atleast_1d(np.asarray(self.C, np.float64))
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.search_ = pd.DataFrame({"C": candidates, "val_loss": np.nan, "val_accuracy": np.nan, "selected": True})
        solutions, best, held_out = _solve(X, labels, candidates, self.class_weight), 0, None
        if X_validation is not None and y_validation is not None:
            labels = np.searchsorted(self.classes_, y_validation)
            logits = [_logits(X_validation, *solution) for solution in solutions]
            self.search_["val_loss"] = [self._loss(values, labels) for values in logits]
            self.search_["val_accuracy"] = [(values.argmax(axis=1) == labels).mean() for values in logits]
            best = int(self.search_["val_loss"].argmin())
            self.search_["selected"] = self.search_.index == best
            held_out = logits[best], labels
        elif len(candidates) > 1 or self.calibrate:
            raise ValueError("Expected X_validation, y_validation to select C and to calibrate, found None.")
        self.C_ = float(candidates[best])
        return solutions[best], held_out

    def predict_proba(self, X: Rows) -> Array:
        """P(class) for features (n, d), (n, classes)."""
        return special.softmax(_logits(X, self.coef_, self.intercept_), axis=1)

    def predict(self, X: Rows) -> Labels:
        """The most probable label for features (n, d), (n,)."""
        return self.classes_[_logits(X, self.coef_, self.intercept_).argmax(axis=1)]

    def to_classifier(self, features: Features, backbone: "keras.Model | None" = None) -> "Classifier":
        """Put the probe on its backbone: one network from pixels to probabilities, with reference scores.

        backbone: `features.network` by default. SmallsetError when it does not return the features of a few photos.
        """
        import keras  # here, because it imports TensorFlow

        from smallset.images import batches
        from smallset.models import convnets
        from smallset.models.classifier import Classifier
        from smallset.training import transfer

        inputs = keras.Input(self.coef_.shape[1:], name="features")
        head = keras.Model(inputs, convnets.probability_layer(len(self.classes_))(inputs), name="head")
        head.layers[-1].set_weights([self.coef_.T, self.intercept_])
        backbone, dataset = backbone or features.network, features.dataset
        network = transfer.compose([backbone], [head])
        validation, values = dataset.validation, features.of("validation")
        probabilities, rows = self.predict_proba(values), validation.spread(CHECKED)
        pixels = batches.pixels(validation.take(rows), features.image_size)
        transfer.check_features(backbone, pixels, values[rows])
        transfer.check_probabilities(network, pixels, probabilities[rows])
        held_out = self.held_out_ or (probabilities, validation.labels)
        scores = reference.fit_reference(features.of("train"), values, *held_out)
        seen = frozenset(dataset.train.sha256 + validation.sha256)
        temperature, bias = self.scaling_
        return Classifier(network, dataset.classes, temperature, seen, scores, tuple(bias.tolist()))

    def _loss(self, logits: Array, labels: Labels) -> float:
        losses = -special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
        return float(np.average(losses, weights=compute_sample_weight(self.class_weight, labels)))


def predict_out_of_fold(features: Features, C: float, class_weight: Literal["balanced"] | None) -> HeldOut:
    """The logits (n, classes) and labels (n,) of training and validation photos, from probes of the other groups.

    A fold has as many photos as validation, so that its probe has as many training photos as that of the training
    split; there are at most MAX_FOLDS, and at most MAX_ROWS photos. A photo is left out if no other one has its class.
    """
    seen = np.flatnonzero(features.dataset.table["split"] != "test")
    rows = seen[features.dataset.take(seen).spread(MAX_ROWS)]
    dataset, values = features.dataset.take(rows), features.values[rows].astype(np.float32)  # noqa: PD011
    in_train = (features.dataset.table["split"] == "train").to_numpy()
    flipped_row = np.where(in_train, np.cumsum(in_train) - 1, -1)[rows]
    count = round(len(dataset) / max(1, (flipped_row < 0).sum()))
    logits = np.full((len(rows), len(dataset.classes)), np.nan)
    for inside, outside in split_folds(dataset, min(max(count, 2), MAX_FOLDS), seed=0):
        X, y = values[inside], dataset.labels[inside]
        if features.flipped is not None:
            mirrored = inside[flipped_row[inside] >= 0]
            X = np.concatenate([X, features.flipped[flipped_row[mirrored]].astype(np.float32)])
            y = np.concatenate([y, dataset.labels[mirrored]])
        probe = LinearProbe(C, class_weight, calibrate=False).fit(X, y)
        logits[np.ix_(outside, probe.classes_)] = _logits(values[outside], probe.coef_, probe.intercept_)
    predicted = ~np.isnan(logits[np.arange(len(rows)), dataset.labels])
    logits, labels = logits[predicted], dataset.labels[predicted]
    lowest = np.nanmin(logits, axis=1, keepdims=True, initial=0)  # for classes that a fold lacks
    return np.where(np.isnan(logits), lowest, logits), labels


def split_folds(dataset: Dataset, count: int, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each of `count` folds the rows outside of it and in it. It has its share of every class.

    No group is divided. A fold is left out when it is empty, or when all photos outside of it are of one class.
    """
    _, first, groups, sizes = np.unique(dataset.group_ids, return_index=True, return_inverse=True, return_counts=True)
    shuffled, folds = np.random.default_rng(seed).permutation(len(first)), np.empty(len(first), np.int64)
    folds[np.lexsort([shuffled, -sizes, dataset.labels[first]])] = np.arange(len(first)) % count
    pairs = [(np.flatnonzero(folds[groups] != fold), np.flatnonzero(folds[groups] == fold)) for fold in range(count)]
    return [pair for pair in pairs if len(pair[1]) and len(np.unique(dataset.labels[pair[0]])) > 1]


def _solve(X: Rows, labels: Labels, candidates: Array, class_weight: str | None) -> list[tuple[Array, Array]]:
    """Coefficients (k, d) and intercept (k,) for each C; each solution starts from the one before."""
    if len(labels) > MAX_ROWS:
        rows = sample(labels, MAX_ROWS)
        print(f"The linear probe uses a stratified sample of {len(rows):,} of {len(labels):,} training rows")
        X, labels = X[rows], labels[rows]
    scaler = StandardScaler()
    standardized = scaler.fit_transform(X)
    regression = LogisticRegression(class_weight=class_weight, max_iter=MAX_ITERATIONS, warm_start=True)
    solutions = []
    for C in candidates:
        regression.set_params(C=C).fit(standardized, labels)
        coefficients = regression.coef_ / scaler.scale_
        solutions.append((coefficients, regression.intercept_ - coefficients @ scaler.mean_))
    return solutions


def _logits(X: Rows, coefficients: Array, intercept: Array) -> Array:
    """The logits (n, classes) of rows X (n, d); for two classes, the first column is 0."""
    logits = np.asarray(X, np.float32) @ coefficients.T.astype(np.float32) + intercept
    return np.pad(logits, ((0, 0), (1, 0))) if logits.shape[1] == 1 else logits
