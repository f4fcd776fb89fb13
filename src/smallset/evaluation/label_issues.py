"""Labels that are probably wrong, and an estimate of how many are, by linear probes of the other photos."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from smallset.datasets.dataset import Dataset
from smallset.features.store import Features
from smallset.training.linear_probe import LinearProbe, split_folds

FOLDS = 5
PASSES = 2  # the probes of the second one are trained without the labels that the first one finds wrong
# Weak regularization makes the probe believe wrong labels; with C = 0.003, 0.01 and 0.03 the lists are equally good.
C = 0.01
PRIOR = (2, 98)  # of the noise rate, a beta distribution: as if 100 other labels were known, 2 of them wrong
RATES = np.geomspace(1e-4, 0.5, 60)  # noise rates
SCALES = np.geomspace(1 / 8, 8, 61, dtype=np.float32)  # factors of the logits, which are inverse temperatures
LISTED = 1 / 8  # P(wrong) from which a label is an issue: up to eight photos are checked to find one wrong label
DRAWS = 1000

Array = NDArray[np.floating]


class WrongLabels(NamedTuple):
    """How many of the labels of training and validation photos are wrong: the estimate and its 95 % interval."""

    checked_labels: int
    wrong_labels: int
    wrong_labels_low: int
    wrong_labels_high: int

    def __str__(self) -> str:
        labels = f"{self.wrong_labels:,} of the {self.checked_labels:,} training and validation labels"
        return f"About {labels} are wrong (95 % interval: {self.wrong_labels_low:,} to {self.wrong_labels_high:,})."


def find_label_issues(features: Features, seed: int = 0) -> pd.DataFrame:
    """List the training and validation photos whose label is probably wrong, in ascending order of label quality.

    The label quality is the probability that the label is right. It comes from a probe that has not seen the photo or
    another one of its group; see `infer_wrong_labels`.

    Returns:
        file, split, given_label, predicted_label, label_quality.

    Examples:
        >>> smallset.find_label_issues(features).columns.tolist()
        ['file', 'split', 'given_label', 'predicted_label', 'label_quality']
    """
    return judge_labels(features, seed)[0]


def judge_labels(features: Features, seed: int = 0) -> tuple[pd.DataFrame, WrongLabels]:
    """The table that `find_label_issues` returns, and how many of all training and validation labels are wrong."""
    rows = np.flatnonzero(features.dataset.table["split"] != "test")
    dataset, values = features.dataset.take(rows), np.asarray(features.values[rows], np.float32)  # noqa: PD011
    names, labels, used = np.array(dataset.classes, dtype=object), dataset.labels, np.ones(len(rows), bool)
    for _ in range(PASSES):
        probabilities = predict_out_of_fold(dataset, values, used, seed)
        wrong, count = infer_wrong_labels(probabilities, labels, seed)
        used = wrong < 0.5
        if used.all():
            break
    table = dataset.table[["file", "split", "label"]].rename(columns={"label": "given_label"})
    table = table.assign(predicted_label=names[probabilities.argmax(axis=1)], label_quality=1 - wrong)
    issues = table[(wrong >= LISTED) & (table["predicted_label"] != table["given_label"])]
    return issues.sort_values("label_quality", kind="stable", ignore_index=True), count


def predict_out_of_fold(dataset: Dataset, values: Array, used: NDArray[np.bool_], seed: int) -> Array:
    """P(class) of each photo, (n, classes), from a probe of the `used` photos of other folds and groups."""
    labels = dataset.labels
    probabilities = np.eye(len(dataset.classes), dtype=np.float32)[labels]  # stays so for a class that others lack
    for inside, outside in split_folds(dataset, FOLDS, seed):
        trusted = inside[used[inside]]
        inside = trusted if {*labels[trusted]} == {*labels[inside]} else inside  # no class is left out
        probe = LinearProbe(C, None, calibrate=False).fit(values[inside], labels[inside])
        outside = outside[np.isin(labels[outside], probe.classes_)]
        probabilities[np.ix_(outside, probe.classes_)] = probe.predict_proba(values[outside])
    return probabilities


def infer_wrong_labels(probabilities: Array, labels: NDArray[np.int64], seed: int) -> tuple[Array, WrongLabels]:
    """P(wrong) of each label, (n,), and the number of wrong labels, from out-of-fold probabilities (n, classes).

    The model: a share of the labels, the noise rate, was replaced by other classes, evenly; and the probabilities are
    right if their logits are multiplied by one factor. Rate and factor are inferred together, on a grid, from how well
    they explain the labels. So a confident prediction against a label counts as much as such predictions are right in
    this dataset. Confident learning (Northcutt, Jiang and Chuang 2021, JAIR) lists each photo that has more than the
    mean probability of another class, and ordinary mistakes of the probe, too, then (benchmarks/label_issues.md).
    """
    row, others = np.arange(len(labels)), probabilities.shape[1] - 1
    logits = np.log(np.maximum(probabilities, np.finfo(probabilities.dtype).tiny))
    right = np.stack([special.softmax(logits * scale, axis=1)[row, labels] for scale in SCALES])  # (scales, n)
    prior = PRIOR[0] * np.log(RATES) + (PRIOR[1] - 1) * np.log1p(-RATES)  # of a rate's logarithm
    fit = [np.log((1 - rate) * right + rate / others * (1 - right)).sum(axis=1, dtype=np.float64) for rate in RATES]
    weights = special.softmax((np.array(fit) + prior[:, None]).ravel())
    random, wrong, counts = np.random.default_rng(seed), np.zeros(len(labels)), np.zeros(DRAWS)
    for draw, cell in enumerate(random.choice(len(weights), DRAWS, p=weights)):
        rate, p = RATES[cell // len(SCALES)], right[cell % len(SCALES)]
        posterior = rate / others * (1 - p) / ((1 - rate) * p + rate / others * (1 - p))
        counts[draw] = (random.random(len(labels)) < posterior).sum()
        wrong += posterior / DRAWS
    low, high = np.quantile(counts, [0.025, 0.975], method="inverted_cdf").astype(int).tolist()
    return wrong, WrongLabels(len(labels), round(counts.mean()), low, high)
