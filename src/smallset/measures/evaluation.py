"""What a saved model is worth on photos that it has never seen."""

import sys
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics

from smallset.measures import calibration
from smallset.measures.calibration import Probabilities
from smallset.networks import inference, models
from smallset.photos import lists

Predict = Callable[[lists.Photos], Probabilities]


def predictor(model: keras.Model) -> Predict:
    """What gives P(class) of each photo, (n, classes): compiled once, for as many lists as it is asked of."""
    step, side = inference.compiled(model), model.input_shape[1]
    return lambda found: models.per_class(inference.on_photos(step, found, side, f"predicting {found.folder.name}"))


def measures(labels: NDArray[np.int64], probability: Probabilities) -> dict[str, float | None]:
    """What the model is worth on n photos, with the area under the ROC curve, and the mean F1 of the classes.

    With more than two classes the area is the mean over each class against the rest; without a photo of each, None.
    """
    areas, classes = _areas(labels, probability), np.arange(probability.shape[1])
    scores = calibration.measures(labels, probability) | {"ece_noise": calibration.noise(probability)}
    f1 = metrics.f1_score(labels, probability.argmax(1), labels=classes, average="macro", zero_division=0)
    return {
        **{name: _rounded(value) for name, value in scores.items()},
        "auc": _rounded(sum(areas) / len(areas)) if areas else None,
        "f1": _rounded(f1),
        "n": len(labels),
    }


def choosing(labels: NDArray[np.int64], probability: Probabilities) -> dict[str, float | None]:
    """What a model is chosen by, measured on the validation photos: val_accuracy, val_loss.

    The same measure for all: the losses of the histories are weighted by class, and before the temperature.
    """
    scores = calibration.measures(labels, probability)
    return {f"val_{name}": _rounded(scores[name]) for name in ("accuracy", "loss")}


def _areas(labels: NDArray[np.int64], probability: Probabilities) -> list[float]:
    """The area under each curve of `roc`; none unless every class has photos."""
    classes = range(probability.shape[1])
    if not all((labels == label).any() for label in classes):
        return []
    return [metrics.roc_auc_score(labels == label, probability[:, label]) for label in _curves(len(classes))]


def _curves(classes: int) -> range:
    """The classes that have a ROC curve. Of two only the second: 1 - p rounds what p keeps apart."""
    return range(1, 2) if classes == 2 else range(classes)


def warn(seen: Sequence[bool]) -> None:
    """Say on stderr how many of the photos that measure a model it was trained on or chosen by, if it was.

    So it is with a model of another seed's split, of other shares, or of photos that lie in two splits.
    """
    if any(seen):
        print(
            f"Warning: {sum(seen)} of these {len(seen)} photos are training or validation photos of this model, and "
            f"flatter it. Measure it on photos that it has not seen.",
            file=sys.stderr,
        )


def _rounded(value: float) -> float:
    return round(float(value), 6)


def by_class(found: lists.Photos, probability: Probabilities) -> pd.DataFrame:
    """A row for each class: class, precision, recall, f1, and n, the photos of that class."""
    scores = metrics.precision_recall_fscore_support(
        found.labels, probability.argmax(1), labels=range(len(found.classes)), zero_division=0
    )
    columns = dict(zip(["precision", "recall", "f1", "n"], scores, strict=True))
    return pd.DataFrame({"class": found.classes} | columns)


def predictions(found: lists.Photos, probability: Probabilities) -> pd.DataFrame:
    """A row for each photo: file, actual and predicted class, and the probability of the predicted class."""
    classes = np.array(found.classes)
    return pd.DataFrame(
        {
            "file": found.files,
            "actual": classes[found.labels],
            "predicted": classes[probability.argmax(1)],
            "probability": probability.max(1),
        }
    )


def roc(found: lists.Photos, probability: Probabilities) -> pd.DataFrame:
    """The corners of ROC curves, each class's against the rest: class, false_positive_rate, true_positive_rate."""
    curves = []
    for label in _curves(len(found.classes)):
        false, true, _ = metrics.roc_curve(found.labels == label, probability[:, label])
        names = {"class": found.classes[label]}
        curves.append(pd.DataFrame(names | {"false_positive_rate": false, "true_positive_rate": true}))
    return pd.concat(curves)
