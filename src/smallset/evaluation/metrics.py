"""What a saved model is worth on photos that it has never seen."""

import sys
from collections.abc import Callable, Sequence

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics

from smallset.datasets import lists
from smallset.evaluation import calibration
from smallset.evaluation.calibration import Probabilities
from smallset.models import engine
from smallset.models.limits import Limits, Said, answering

COVERAGES = (0.9, 0.95, 0.99)  # for which the sets of labels are measured
MOST = 5  # photos of each split that are listed as the most unlike


Predict = Callable[[lists.Photos], Said]


def predictor(model: keras.Model, limits: Limits | None = None) -> Predict:
    """What says it of each photo: compiled once, for as many lists as it is asked of."""
    step, side, classes = answering(model, limits), model.input_shape[1], max(2, model.output_shape[1])

    def predict(found: lists.Photos) -> Said:
        rows = engine.on_photos(step, found, side, f"predicting {found.folder.name}")
        return Said(rows[:, :classes], rows[:, classes])

    return predict


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


def called_unlike(unlikeness: NDArray[np.float64], limits: Limits | None) -> dict[str, float]:
    """unlike: the share of photos that is called unlike those trained on; nothing where the model does not tell."""
    return {} if limits is None else {"unlike": _rounded(limits.unlike(unlikeness).mean())}


def sets(labels: NDArray[np.int64], probability: Probabilities, limits: Limits | None) -> pd.DataFrame:
    """What the labels that stay possible are worth, a row for each of COVERAGES; none where the model does not tell.

    coverage, as wanted; covered, the share of n photos whose right label is among them; labels, their mean number;
    single, the share of photos with exactly one.
    """
    rows = []
    for coverage in COVERAGES:
        if limits is not None:
            possible = limits.possible(probability, coverage)
            counts, covered = possible.sum(axis=1), possible[np.arange(len(labels)), labels].mean()
            rows.append((coverage, covered, counts.mean(), (counts == 1).mean(), len(labels)))
    return pd.DataFrame(rows, columns=["coverage", "covered", "labels", "single", "n"])


def oddest(
    splits: Sequence[lists.Photos],
    validation: NDArray[np.float64],
    test: NDArray[np.float64],
    limits: Limits | None,
) -> pd.DataFrame:
    """The photos of each split that are least like those trained on: split, file, class, unlikeness, unlike.

    splits: training, validation and test photos; validation, test: the unlikeness of the last two. A training photo is
    compared with those of other folds. None where the model does not tell.
    """
    if limits is None:
        return pd.DataFrame(columns=["split", "file", "class", "unlikeness", "unlike"])
    tables = []
    for found, unlikeness in zip(splits, (limits.trained, validation, test), strict=True):
        order = np.argsort(-unlikeness, kind="stable")[:MOST]
        photos = found.at(order).table().rename(columns={"label": "class"})[["file", "class"]]
        values = {"unlikeness": unlikeness[order], "unlike": limits.unlike(unlikeness[order])}
        tables.append(photos.assign(split=found.folder.name, **values))
    return pd.concat(tables)[["split", "file", "class", "unlikeness", "unlike"]]


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
