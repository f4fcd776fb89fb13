"""Photos whose label may be wrong: those to which a linear probe of the other photos gives a low probability."""

import numpy as np
import pandas as pd

from smallset.features.store import Features
from smallset.training.linear_probe import LinearProbe, split_folds

FOLDS = 5
# Weak regularization makes the probe believe wrong labels. Of 4 % swapped labels of ants and bees (EfficientNet-Lite0,
# 4,048 features, mean of five draws), the first rows (1.5 times as many) had 87 % with C = 0.001, 83 % with 0.01 and
# 82 % with 0.1. Of several classes, a smaller C leaves probabilities below 0.5 to most labels.
C = 0.01
MIN_ROWS = 50  # that are listed even if no label is doubtful
MIN_SHARE = 0.02  # of the photos, likewise
DOUBTFUL = 0.5  # the label quality below which all photos are listed


def find_label_issues(features: Features, seed: int = 0) -> pd.DataFrame:
    """List the training and validation photos with the lowest label quality, in ascending order.

    The label quality is the probability of the given label (self-confidence; Northcutt, Jiang and Chuang 2021,
    Confident learning, JAIR) from a probe that has not seen the photo or another one of its group. A label is an issue
    when the predicted one is different.

    Returns:
        file, split, given_label, predicted_label, label_quality.

    Examples:
        >>> smallset.find_label_issues(features).columns.tolist()
        ['file', 'split', 'given_label', 'predicted_label', 'label_quality']
    """
    rows = np.flatnonzero(features.dataset.table["split"] != "test")
    dataset, values = features.dataset.take(rows), np.asarray(features.values[rows], np.float32)  # noqa: PD011
    names, labels = np.array(dataset.classes, dtype=object), dataset.labels
    probabilities = np.eye(len(names))[labels]  # stays so for a class that is in one fold only
    for inside, outside in split_folds(dataset, FOLDS, seed):
        probe = LinearProbe(C, None, calibrate=False).fit(values[inside], labels[inside])
        outside = outside[np.isin(labels[outside], probe.classes_)]
        probabilities[np.ix_(outside, probe.classes_)] = probe.predict_proba(values[outside])
    quality = probabilities[np.arange(len(labels)), labels]
    table = dataset.table[["file", "split", "label"]].rename(columns={"label": "given_label"})
    table = table.assign(predicted_label=names[probabilities.argmax(axis=1)], label_quality=quality)
    count = max(MIN_ROWS, round(MIN_SHARE * len(table)), (quality < DOUBTFUL).sum())
    return table.sort_values("label_quality", kind="stable").head(count).reset_index(drop=True)


def select_issues(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of label_issues.csv whose predicted label is not the given one."""
    return table[table["given_label"] != table["predicted_label"]] if len(table) else table
