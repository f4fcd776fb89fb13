"""Cross-validation of the linear probe: its accuracy on all photos, where the test photos are few."""
# ruff: noqa: N803 - scikit-learn's C

from collections.abc import Sequence
from typing import Literal

import numpy as np

from smallset.evaluation import significance
from smallset.evaluation.learning_curve import draw
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
    """Predict every photo with linear probes of photos in other folds, as many as the project trains on.

    C and scaling are those of the selected probe. Returns cv_accuracy, its 95 % interval cv_low and cv_high,
    cv_balanced_accuracy, cv_photos, and cv_baseline, the share of the most frequent class.
    """
    rows = features.dataset.spread(MAX_PHOTOS)
    dataset, values = features.dataset.take(rows), features.values[rows].astype(np.float32)
    accuracies, right, trained = [], np.zeros(len(rows)), len(dataset.train)
    for repeat in progress.bar(range(REPEATS), what="cross-validation", unit=f" x {FOLDS} models"):
        for inside, outside in split_folds(dataset, FOLDS, seed + repeat):
            drawn = inside[draw(dataset.take(inside), min(trained, len(inside)), seed + repeat)]
            probe = LinearProbe(C, class_weight, calibrate=False).fit(values[drawn], dataset.labels[drawn])
            logits = np.log(np.clip(probe.predict_proba(values[outside]), TINY, 1)) / scaling.temperature
            bias = np.broadcast_to(scaling.bias, len(dataset.classes))[probe.classes_]
            hits = probe.classes_[(logits + bias).argmax(axis=1)] == dataset.labels[outside]
            accuracies.append(float(hits.mean()))
            right[outside] += hits / REPEATS
    accuracy, counts = float(right.mean()), np.bincount(dataset.labels)
    low, high = significance.wilson_interval(accuracy, count_effective(accuracies, accuracy, len(rows), trained))
    recall = np.bincount(dataset.labels, right)[counts > 0] / counts[counts > 0]
    results = {"cv_accuracy": accuracy, "cv_low": low, "cv_high": high, "cv_photos": len(rows)}
    results |= {"cv_balanced_accuracy": float(recall.mean()), "cv_baseline": float(counts.max() / len(rows))}
    return {name: round(value, 6) for name, value in results.items()}


def count_effective(accuracies: Sequence[float], accuracy: float, photos: int, trained: int) -> float:
    """The number of unseen photos that would tell `accuracy` as exactly as a cross-validation of `photos` photos does.

    The accuracies of folds vary too little, because their models share photos; this corrects their variance (Nadeau and
    Bengio 2003, Inference for the generalization error; with repeats: Bouckaert and Frank 2004). It is larger than that
    of counting when the photos of a group are right or wrong together. trained: the photos that train each model.
    """
    folds = len(accuracies) // REPEATS
    counting = accuracy * (1 - accuracy) * folds / photos
    excess = max(1.0, float(np.var(accuracies, ddof=1)) / counting) if counting else 1.0
    return photos / (excess * (1 / REPEATS + photos / trained))
