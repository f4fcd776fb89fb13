"""The linear probe: logistic regression on the features of a frozen backbone. Importing it does not need TensorFlow."""
# ruff: noqa: N803, N806 - scikit-learn's names

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from smallset.features.store import Features, sample
from smallset.models import calibration, reference

if TYPE_CHECKING:
    import keras

    from smallset.models.classifier import Classifier

MAX_ROWS = 50_000  # training rows in memory; of more, it takes a stratified sample and prints one line
MAX_ITERATIONS = 1000
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # for notebooks; pipelines have C in their params
CHECKED = 32  # validation photos for which the network on pixels is compared with the features

Rows = NDArray[np.floating]
Labels = NDArray[np.int64]
Array = NDArray[np.float64]


class LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Logistic regression on standardized features: a scikit-learn estimator.

    Args:
        C: The inverse strengths of the L2 penalty to try; the one with the lowest validation loss is selected.
        class_weight: "balanced" gives all classes the same influence, None gives it to all photos.
        calibrate: Divide the logits by a temperature that is fitted on the validation photos.

    Attributes:
        classes_: (classes,) The labels in the order of the probabilities.
        coef_: (k, d) and intercept_: (k,) For features that are not standardized; k is 1 for two classes.
        C_: The selected C.
        temperature_: What the logits, coef_ and intercept_ have been divided by; 1 without calibration.
        search_: One row per C: C, val_loss and val_accuracy (before the temperature), selected.

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
    ) -> None:
        self.C, self.class_weight, self.calibrate = C, class_weight, calibrate

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
            return self.fit(*X.training(), X.of("validation"), X.dataset.validation.labels)
        if y is None:
            raise ValueError("Expected the labels y of the rows X, found None.")
        candidates = np.atleast_1d(np.asarray(self.C, np.float64))
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.search_ = pd.DataFrame({"C": candidates, "val_loss": np.nan, "val_accuracy": np.nan, "selected": True})
        solutions, best, self.temperature_ = _solve(X, labels, candidates, self.class_weight), 0, 1.0
        if X_validation is not None and y_validation is not None:
            labels = np.searchsorted(self.classes_, y_validation)
            logits = [_logits(X_validation, *solution) for solution in solutions]
            self.search_["val_loss"] = [self._loss(values, labels) for values in logits]
            self.search_["val_accuracy"] = [(values.argmax(axis=1) == labels).mean() for values in logits]
            best = int(self.search_["val_loss"].argmin())
            self.search_["selected"] = self.search_.index == best
            self.temperature_ = calibration.fit_temperature(logits[best], labels) if self.calibrate else 1.0
        elif len(candidates) > 1 or self.calibrate:
            raise ValueError("Expected X_validation, y_validation to select C and the temperature, found None.")
        self.C_ = float(candidates[best])
        self.coef_, self.intercept_ = (values / self.temperature_ for values in solutions[best])
        return self

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
        scores = reference.fit_reference(features.of("train"), values, probabilities, validation.labels)
        seen = frozenset(dataset.train.sha256 + validation.sha256)
        return Classifier(network, dataset.classes, self.temperature_, seen, scores)

    def _loss(self, logits: Array, labels: Labels) -> float:
        losses = -special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
        return float(np.average(losses, weights=compute_sample_weight(self.class_weight, labels)))


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
