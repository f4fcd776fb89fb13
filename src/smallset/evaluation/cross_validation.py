"""Cross-validation of the linear probe: its accuracy on all photos, where the test photos are few."""
# ruff: noqa: N803 - scikit-learn's C

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from smallset.datasets.dataset import Dataset
from smallset.evaluation import significance
from smallset.features.store import Features
from smallset.pipeline import progress
from smallset.pipeline.errors import SmallsetError
from smallset.training.linear_probe import LinearProbe

FEW = 300  # test photos: an accuracy of 0.9 on so many has an uncertainty of ± 3.4 points
FOLDS = 5
REPEATS = 5  # each with other folds
MAX_PHOTOS = 20_000  # of more, evenly spaced ones


def cross_validate(
    features: Features, C: float, class_weight: Literal["balanced"] | None, seed: int
) -> dict[str, float]:
    """Predict every photo with linear probes that are trained on the other folds; C is that of the selected probe.

    Returns cv_accuracy, its 95 % interval cv_low and cv_high, and cv_photos.
    """
    rows = features.dataset.spread(MAX_PHOTOS)
    dataset, values = features.dataset.take(rows), features.values[rows].astype(np.float32)
    accuracies, right = [], np.zeros(len(rows))
    for repeat in progress.bar(range(REPEATS), what="cross-validation", unit=f" x {FOLDS} models"):
        for inside, outside in split_folds(dataset, FOLDS, seed + repeat):
            probe = LinearProbe(C, class_weight, calibrate=False).fit(values[inside], dataset.labels[inside])
            hits = probe.predict(values[outside]) == dataset.labels[outside]
            accuracies.append(float(hits.mean()))
            right[outside] += hits / REPEATS
    accuracy = float(right.mean())
    low, high = significance.wilson_interval(accuracy, count_effective(accuracies, accuracy, len(rows)))
    results = {"cv_accuracy": accuracy, "cv_low": low, "cv_high": high, "cv_photos": len(rows)}
    return {name: round(value, 6) for name, value in results.items()}


def split_folds(dataset: Dataset, count: int, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each fold the rows outside of it and in it. It has its share of every class, and no group is divided.

    There are fewer than `count` folds when a class has fewer groups; SmallsetError when a class has only one.
    """
    labels, groups = dataset.labels, dataset.group_ids
    sizes = [len(np.unique(groups[labels == label])) for label in range(len(dataset.classes))]
    if min(sizes) < 2:
        raise SmallsetError(
            f"{dataset.classes[int(np.argmin(sizes))]}: expected 2 or more different photos or groups, to predict each "
            f"from the others; found {min(sizes)}. Add photos of this class."
        )
    grouped = len(np.unique(groups)) < len(groups)
    folds = StratifiedGroupKFold if grouped else StratifiedKFold  # is faster
    splitter = folds(n_splits=min(count, *sizes), shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels, groups if grouped else None))


def count_effective(accuracies: Sequence[float], accuracy: float, photos: int) -> float:
    """The number of unseen photos that would tell `accuracy` as exactly as a cross-validation of `photos` photos does.

    The accuracies of folds vary too little, because their models share photos; this corrects their variance (Nadeau and
    Bengio 2003, Inference for the generalization error; with repeats: Bouckaert and Frank 2004). It is larger than that
    of counting when the photos of a group are right or wrong together.
    """
    folds = len(accuracies) // REPEATS
    counting = accuracy * (1 - accuracy) * folds / photos
    excess = max(1.0, float(np.var(accuracies, ddof=1)) / counting) if counting else 1.0
    return photos / (excess * (1 / REPEATS + folds / (folds - 1)))
