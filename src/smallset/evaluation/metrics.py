"""Metrics of a model: its accuracy, and how reliable its probabilities are. METRICS lists what is reported."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

from smallset.datasets.dataset import Dataset
from smallset.evaluation import significance
from smallset.models import calibration
from smallset.models.predictions import Predictions
from smallset.models.reference import Reference
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier

EPSILON = 1e-7  # a smaller probability counts as this one, as in Keras: float32 rounds probabilities to 0 and 1
BINS = 15  # of equally many photos
RESAMPLES = 1000
COVERAGES = (0.9, 0.95, 0.99)  # for which prediction sets are measured
LISTED = 5  # unknown photos of each split

Labels = NDArray[np.int64]  # (n,)
Probabilities = NDArray[np.float64]  # (n, classes), rows with a sum of 1
Scores = NDArray[np.float64]  # (n,)


def accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """The share of photos whose most probable class is the label."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def balanced_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """The mean recall of the classes that have photos, so that a rare class counts as much as a frequent one."""
    predicted, present = probabilities.argmax(axis=1), np.unique(labels)
    return float(metrics.recall_score(labels, predicted, labels=present, average="macro", zero_division=0))


def loss(labels: Labels, probabilities: Probabilities) -> float:
    """The cross-entropy in nats: the mean of -log P(label)."""
    return -float(np.log(np.clip(probabilities[np.arange(len(labels)), labels], EPSILON, 1 - EPSILON)).mean())


def ece(labels: Labels, probabilities: Probabilities) -> float:
    """The expected calibration error, 0..1: the mean distance between confidence and accuracy (Naeini et al. 2015)."""
    table = reliability(labels, probabilities)
    return float(np.average((table["accuracy"] - table["confidence"]).abs(), weights=table["n"]))


def ece_null_p95(_: Labels, probabilities: Probabilities) -> float:
    """The ECE that a perfectly calibrated model with these confidences exceeds with a probability of 5 %.

    Whether a photo is right is drawn from its confidence (consistency resampling, Broecker and Smith 2007).
    """
    confidence, random = probabilities.max(axis=1), np.random.default_rng(0)
    bins = _bin(confidence)
    gaps = ((random.random(len(bins)) < confidence) - confidence for _draw in range(RESAMPLES))
    return float(np.quantile([np.abs(np.bincount(bins, gap)).sum() / len(bins) for gap in gaps], 0.95))


def auc(labels: Labels, probabilities: Probabilities) -> float | None:
    """The area under the ROC curve, with more than two classes the mean of those with photos; None for one class."""
    curves = _curves(labels, probabilities.shape[1])
    areas = [metrics.roc_auc_score(labels == label, probabilities[:, label]) for label in curves]
    return float(np.mean(areas)) if areas else None


class Metric(NamedTuple):
    """A number that is reported for every model. Tables for people show the metrics that have a column."""

    compute: Callable[[Labels, Probabilities], float | None]
    column: str = ""
    meaning: str = ""
    format: str = ".3f"


# A metric that is added here appears in metrics/MODEL.json, compare.csv, calibration.csv, compare.md and the report.
METRICS = {
    "accuracy": Metric(accuracy, "accuracy", "share of the test photos that the model gets right", ".4f"),
    "balanced_accuracy": Metric(
        balanced_accuracy, "balanced accuracy", "mean recall of the classes; a constant answer has 1 / classes", ".4f"
    ),
    "loss": Metric(loss, "loss", "cross-entropy on the test photos"),
    "brier": Metric(  # half the mean squared distance between probabilities and labels, 0..1 (Brier 1950)
        lambda labels, p: float(np.square(p - np.eye(p.shape[1])[labels]).sum(axis=1).mean() / 2),
        meaning="mean squared distance of the probabilities from the labels, 0..1: lower is better",
    ),
    "ece": Metric(ece, "ECE", "expected calibration error: how far its probabilities are from how often it is right"),
    "ece_null_p95": Metric(ece_null_p95, "ECE by chance", "an ECE below it is no evidence of wrong probabilities"),
    "auc": Metric(auc, meaning="area under the ROC curve, mean of the classes: 0.5 for guesses, 1 at best"),
    "f1": Metric(
        lambda labels, p: float(np.nanmean(_score_classes(labels, p)[2])),
        meaning="mean of the classes' F1 scores, each the harmonic mean of precision and recall",
    ),
}
MEANINGS = {name: metric.meaning for name, metric in METRICS.items()} | {
    "n": "number of photos",
    "groups": "number of groups of these photos; a photo without a group counts as one",
    "low": "lower end of the 95 % interval of the accuracy: Wilson's, or if photos form groups, clustered by group",
    "high": "upper end of this interval",
    "baseline": "accuracy of always answering baseline_class",
    "baseline_p": "probability of so large a difference between accuracy and baseline by chance (McNemar's exact test)",
    "baseline_class": "the most frequent class",
    "unknown": "share of photos that the model flags as unknown",
    "recall": "share of the photos of each class that the model gets right",
}


def measure(labels: Labels, probabilities: Probabilities) -> dict[str, float | None]:
    """All METRICS with six decimals, and the number of photos `n`."""
    values = {name: metric.compute(labels, probabilities) for name, metric in METRICS.items()}
    return {**{name: None if value is None else round(value, 6) for name, value in values.items()}, "n": len(labels)}


def measure_photos(photos: Dataset, probabilities: Probabilities, train: Dataset | None = None) -> dict[str, Any]:
    """What `measure` returns, the interval of the accuracy, and the `baseline`, as MEANINGS explains.

    The most frequent class is that of the photos `train`, or else that of the measured photos.
    """
    labels, groups = photos.labels, photos.table["group"]
    majority = int(np.bincount((train or photos).labels).argmax())
    right, constant = probabilities.argmax(axis=1) == labels, labels == majority
    p = significance.compare_answers(right.astype(np.int64) - constant, groups)
    low, high = significance.estimate_interval(right, groups)
    numbers = {"low": low, "high": high, "baseline": float(constant.mean()), "baseline_p": p}
    results = measure(labels, probabilities) | {"groups": len(np.unique(significance.number_groups(groups)))}
    results |= {name: float(f"{value:.6g}") for name, value in numbers.items()}
    return results | {"baseline_class": photos.classes[majority]}


def measure_unknown(ood_scores: Scores, reference: Reference | None) -> dict[str, float]:
    """`unknown`: the share of photos that the model flags as unknown; nothing for a model without a reference."""
    return {} if reference is None else {"unknown": round(float(reference.is_unknown(ood_scores).mean()), 6)}


def evaluate(classifier: "Classifier", dataset: Dataset) -> dict[str, Any]:
    """Measure a classifier on the test photos of a dataset, or on all photos when none is a test photo.

    Returns the METRICS, the number of photos `n` and of `groups`, the 95 % interval of the accuracy (`low`, `high`),
    `baseline`, the accuracy of always answering the most frequent class (`baseline_class`), with the probability of so
    large a difference by chance (`baseline_p`), and `unknown`, the share of photos that the classifier does not know.

    Examples:
        >>> smallset.evaluate(classifier, photos)
        {'accuracy': ..., 'loss': ..., 'ece': ..., 'unknown': ...}
    """
    test = dataset.test if len(dataset.test) else dataset
    if not len(test):
        raise SmallsetError("evaluate: expected photos with labels, found none.")
    warn_if_seen(classifier.has_seen(test.sha256))
    predictions = classifier.predict_dataset(test)
    results = measure_photos(test, predictions.probabilities, dataset.train)
    return results | measure_unknown(predictions.ood_scores, classifier.reference)


def warn_if_seen(seen: Sequence[bool]) -> None:
    """Warn on stderr when photos that measure a model were used for its training or selection."""
    if any(seen):
        share = f"{sum(seen)} of these {len(seen)} photos"
        message = f"Warning: the model was trained or selected with {share}, which makes the results too good."
        print(f"{message} Use photos that it has not seen.", file=sys.stderr)


def write_evaluation(
    predictions: Predictions,
    reference: Reference | None,
    scaling: calibration.Scaling,
    folder: Path,
    name: str,
    train: Dataset | None = None,
    /,
    **more: float,
) -> None:
    """Write `folder`/`name`.json, with the numbers `more`, and the tables in `folder`/`name`/.

    predictions: for the validation and the test photos at least; scaling: what has calibrated the model; train: the
    training photos, if the predictions lack them.
    """
    (labels, probabilities, ood_scores), test = predictions.of("test"), predictions.dataset.test
    selection = {f"val_{f.__name__}": round(f(*predictions.of("validation")[:2]), 6) for f in (accuracy, loss)}
    results = measure_photos(test, probabilities, train or predictions.dataset.train)
    results |= selection | measure_unknown(ood_scores, reference) | more
    files.write_json(folder / f"{name}.json", results)
    variants = [("after", scaling.temperature, probabilities)]
    if scaling.temperature != 1 or np.any(scaling.bias):
        original = scaling.undo(np.clip(probabilities, EPSILON, 1))
        variants = [("before", 1.0, original), *variants]
    calibrations = [{"when": when, "temperature": t} | measure(labels, values) for when, t, values in variants]
    tables = {
        "calibration": pd.DataFrame(calibrations),
        "reliability": pd.concat([reliability(labels, values).assign(when=when) for when, _, values in variants]),
        "per_class": per_class(test, probabilities, reference),
        "predictions": list_predictions(test, probabilities),
        "roc": roc(test, probabilities),
    }
    if reference is not None:
        tables["prediction_sets"] = prediction_sets(labels, probabilities, reference)
        tables["unknown"] = list_unknown(predictions, reference)
    for kind, table in tables.items():
        files.write_csv(folder / name / f"{kind}.csv", table)


def reliability(labels: Labels, probabilities: Probabilities) -> pd.DataFrame:
    """One row per bin, the least confident first: mean confidence, accuracy, n photos."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = pd.DataFrame({"confidence": confidence, "accuracy": right, "n": 1}).groupby(_bin(confidence))
    return bins.agg({"confidence": "mean", "accuracy": "mean", "n": "sum"}).reset_index(drop=True)


def per_class(dataset: Dataset, probabilities: Probabilities, reference: Reference | None = None) -> pd.DataFrame:
    """One row per class: class, precision, recall, its 95 % interval, f1, and its number of photos n.

    With a reference also `covered`, the share of its photos whose 95 % prediction set contains the label, the interval
    of this share, and the number of its `calibration_photos`.
    """
    labels, classes = dataset.labels, len(dataset.classes)
    precision, recall, f1, n = _score_classes(labels, probabilities)
    members = [labels == label for label in range(classes)]

    def bound(hits: NDArray[np.bool_], name: str) -> dict[str, NDArray[np.float64]]:
        groups = dataset.table["group"]
        low, high = np.array([significance.estimate_interval(hits[rows], groups[rows]) for rows in members]).T
        return {f"{name}_low": low, f"{name}_high": high}

    columns: dict[str, Any] = {"precision": precision, "recall": recall} | bound(
        probabilities.argmax(axis=1) == labels, "recall"
    )
    columns |= {"f1": f1, "n": n}
    if reference is not None:
        covered = reference.prediction_set(probabilities)[np.arange(len(labels)), labels]
        shares = np.bincount(labels, covered, classes) / np.where(n, n, np.nan)
        columns |= {"covered": shares} | bound(covered, "covered")
        columns["calibration_photos"] = reference.count_photos(classes)
    return pd.DataFrame({"class": dataset.classes} | columns)


def _score_classes(labels: Labels, probabilities: Probabilities) -> tuple[NDArray[np.float64], ...]:
    """Precision, recall, F1 score and number of photos of each class; without photos, the recall and F1 are NaN."""
    predicted, classes = probabilities.argmax(axis=1), range(probabilities.shape[1])
    scores = metrics.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    precision, recall, f1, n = scores
    return precision, np.where(n, recall, np.nan), np.where(n, f1, np.nan), n


def list_predictions(dataset: Dataset, probabilities: Probabilities) -> pd.DataFrame:
    """One row per photo: file, actual and predicted class, and the probability of the predicted class."""
    predicted = np.array(dataset.classes, dtype=object)[probabilities.argmax(axis=1)]
    table = dataset.table[["file", "label"]].rename(columns={"label": "actual"})
    return table.assign(predicted=predicted, probability=probabilities.max(axis=1))


def roc(dataset: Dataset, probabilities: Probabilities) -> pd.DataFrame:
    """The corners of each class's ROC curve: class, false_positive_rate, true_positive_rate."""
    parts = []
    for label in _curves(dataset.labels, len(dataset.classes)):
        false, true, _ = metrics.roc_curve(dataset.labels == label, probabilities[:, label])
        rates = {"false_positive_rate": false, "true_positive_rate": true}
        parts.append(pd.DataFrame({"class": dataset.classes[label]} | rates))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["class", "false_positive_rate", "true_positive_rate"])


def prediction_sets(labels: Labels, probabilities: Probabilities, reference: Reference) -> pd.DataFrame:
    """One row per coverage: covered and single, the shares of sets with the label and with one label; mean_size; n."""
    rows = []
    for coverage in COVERAGES:
        sets = reference.prediction_set(probabilities, coverage)
        sizes, covered = sets.sum(axis=1), sets[np.arange(len(labels)), labels].mean()
        rows.append((coverage, covered, sizes.mean(), (sizes == 1).mean(), len(labels)))
    return pd.DataFrame(rows, columns=["coverage", "covered", "mean_size", "single", "n"])


def list_unknown(predictions: Predictions, reference: Reference) -> pd.DataFrame:
    """The validation and test photos with the highest OOD scores: file, split, label, ood_score, unknown."""
    scores, table = predictions.ood_scores, predictions.dataset.table[["file", "split", "label"]]
    table = table.assign(ood_score=scores, unknown=reference.is_unknown(scores))[table["split"] != "train"]
    table = table.sort_values(["split", "ood_score"], ascending=False, kind="stable")
    return table.groupby("split").head(LISTED)


def _bin(confidence: Scores) -> NDArray[np.int64]:
    """The bin of each photo, 0..BINS - 1. Equal confidences share a bin."""
    return ((stats.rankdata(confidence) - 0.5) / len(confidence) * BINS).astype(np.int64)


def _curves(labels: Labels, classes: int) -> list[int]:
    """The classes that have a ROC curve: those with photos, unless all are of one class.

    Of two classes only the second has one: 1 - p rounds small p to the same number.
    """
    present = np.unique(labels).tolist()
    return [label for label in present if len(present) > 1 and (classes > 2 or label == 1)]
