"""Cross-validation of the linear probe: its accuracy on all photos, where the test photos are few."""
# ruff: noqa: N803 - scikit-learn's C

from collections.abc import Sequence
from typing import Literal

import numpy as np

from smallset.evaluation import significance
from smallset.features.store import Features
from smallset.models.calibration import Scaling
from smallset.pipeline import progress
from smallset.training.linear_probe import LinearProbe, split_folds

FEW = 300  # test photos: an accuracy of 0.9 on so many has an uncertainty of ± 3.4 points
FOLDS = 5
REPEATS = 5  # each with other folds
MAX_PHOTOS = 20_000  # of more, evenly spaced ones
TINY = 1e-300  # a smaller probability has no logarithm


def cross_validate(
    features: Features, C: float, class_weight: Literal["balanced"] | None, scaling: Scaling, seed: int
) -> dict[str, float]:
    """Predict every photo with linear probes that are trained on other folds.

    As many folds train as in the project, 3 of 5 by default: with few photos, a probe of 4 is better than that of 3.

    Args:
        features: Of all photos.
        C: That of the selected probe.
        class_weight: As in `LinearProbe`.
        scaling: That of the selected probe.
        seed: Of the folds.

    Returns:
        cv_accuracy, its 95 % interval cv_low and cv_high, cv_balanced_accuracy, cv_photos, and
        cv_baseline, the share of the most frequent class.
    """
    rows = features.dataset.spread(MAX_PHOTOS)
    dataset, values = features.dataset.take(rows), features.values[rows].astype(np.float32)
    training = min(max(1, round(FOLDS * len(dataset.train) / len(dataset))), FOLDS - 1)
    accuracies, right = [], np.zeros(len(rows))
    for repeat in progress.bar(range(REPEATS), what="cross-validation", unit=f" x {FOLDS} models"):
        fold = np.full(len(rows), -1)
        for number, (_, outside) in enumerate(split_folds(dataset, FOLDS, seed + repeat)):
            fold[outside] = number
        for number in range(fold.max() + 1):
            outside = fold == number
            inside = np.isin((fold - number) % (fold.max() + 1), np.arange(1, training + 1)) & (fold >= 0) & ~outside
            hits = np.zeros(outside.sum())
            if len(np.unique(dataset.labels[inside])) > 1:
                probe = LinearProbe(C, class_weight, calibrate=False).fit(values[inside], dataset.labels[inside])
                logits = np.log(np.clip(probe.predict_proba(values[outside]), TINY, 1)) / scaling.temperature
                answers = probe.classes_[
                    (logits + np.broadcast_to(scaling.bias, len(dataset.classes))[probe.classes_]).argmax(axis=1)
                ]
                hits = answers == dataset.labels[outside]
            accuracies.append(float(hits.mean()))
            right[outside] += hits / REPEATS
    accuracy, counts = float(right.mean()), np.bincount(dataset.labels)
    low, high = significance.wilson_interval(accuracy, count_effective(accuracies, accuracy, len(rows), training))
    recall = np.bincount(dataset.labels, right)[counts > 0] / counts[counts > 0]
    results = {"cv_accuracy": accuracy, "cv_low": low, "cv_high": high, "cv_photos": len(rows)}
    results |= {"cv_balanced_accuracy": float(recall.mean()), "cv_baseline": float(counts.max() / len(rows))}
    return {name: round(value, 6) for name, value in results.items()}


def count_effective(accuracies: Sequence[float], accuracy: float, photos: int, training: int) -> float:
    """The number of unseen photos that would tell `accuracy` as exactly as a cross-validation of `photos` photos does.

    The accuracies of folds vary too little, because their models share photos; this corrects their variance (Nadeau and
    Bengio 2003, Inference for the generalization error; with repeats: Bouckaert and Frank 2004). It is larger than that
    of counting when the photos of a group are right or wrong together. training: the folds that train a model.
    """
    folds = len(accuracies) // REPEATS
    counting = accuracy * (1 - accuracy) * folds / photos
    excess = max(1.0, float(np.var(accuracies, ddof=1)) / counting) if counting else 1.0
    return photos / (excess * (1 / REPEATS + folds / training))
