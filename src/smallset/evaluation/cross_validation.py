"""Accuracy of `linear` by cross-validation over all photos, where the test photos are few.

Nothing is chosen by it: it comes after all choices. It measures a way of training, on several times the photos that the
test has.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from smallset.datasets.lists import Photos
from smallset.evaluation import samples, significance
from smallset.features import caches
from smallset.models import convnets, engine
from smallset.pipeline import bulk, params, progress
from smallset.training import linear_probe

FEW = 300  # test photos: an accuracy of 0.9 on as many is known to ± 3.4 points
FOLDS = 5
REPEATS = 5  # with other folds each
MOST = 10_000  # training photos, and validation photos; of more, evenly spaced ones
COLUMNS = ["model", "accuracy", "low", "high", "photos", "folds", "repeats"]


def where_needed(
    base: tuple[keras.Model, keras.Model],
    cached: Sequence[caches.Cache],
    test: Photos,
    strength: float,
    p: params.Linear,
    seed: int,
) -> pd.DataFrame:
    """`measure` of all photos with a base's trunk and top; where the test photos are many, no row."""
    if len(test.files) >= FEW:
        print(f"{len(test.files):,} test photos tell accuracies well enough: no cross-validation.")
        return pd.DataFrame(columns=COLUMNS)
    return measure(*given(*base, cached, test), strength, p, seed)


def given(
    trunk: keras.Model, top: keras.Model, cached: Sequence[caches.Cache], test: Photos
) -> tuple[linear_probe.Rows, Photos]:
    """What the last layer of `linear` is given of all photos as they are: those of the caches, then the test photos.

    Of a cache of more than MOST photos, evenly spaced ones.
    """
    head = linear_probe.unsolved(top.output_shape[1:], len(test.classes))
    kept = [bulk.sample(cache.labels, MOST) for cache in cached]
    rows = (linear_probe.rows(top, head, replace(cache, values=cache.views[0])) for cache in cached)
    inputs = [own.at(few).inputs for own, few in zip(rows, kept, strict=True)]
    step = engine.compiled(linear_probe.pool(convnets.chain([trunk, top], "base"), head))
    inputs.append(engine.on_photos(step, test, trunk.input_shape[1], "test"))
    found = joined([*(cache.photos.at(few) for cache, few in zip(cached, kept, strict=True)), test])
    return linear_probe.Rows(np.concatenate(inputs), found.labels), found


def joined(splits: Sequence[Photos]) -> Photos:
    """The photos of all splits in one list, below the folder that holds theirs."""
    return Photos(
        splits[0].folder.parent,
        splits[0].classes,
        tuple(str(Path(own.folder.name, file)) for own in splits for file in own.files),
        np.concatenate([own.labels for own in splits]),
        groups=tuple(group for own in splits for group in own.groups),
    )


def measure(given: linear_probe.Rows, found: Photos, strength: float, p: params.Linear, seed: int) -> pd.DataFrame:
    """One row with the COLUMNS, low and high of a 95 % interval; given: a row for each of the photos `found`.

    Each photo is judged by a model that has not seen it, solved with C `strength` for the other folds.
    """
    tasks = [(repeat, fold) for repeat in range(REPEATS) for fold in range(FOLDS)]
    accuracies, right = [], 0
    for repeat, fold in progress.bar(tasks, what="cross-validation", unit=" models"):
        out = samples.folds(found, FOLDS, seed + repeat) == fold
        known = linear_probe.Rows(given.inputs[~out], given.labels[~out])
        hits = linear_probe.regression(known, strength, p).predict(given.inputs[out]) == given.labels[out]
        accuracies.append(float(hits.mean()))
        right += int(hits.sum())
    accuracy = right / (REPEATS * len(found.files))
    low, high = significance.interval(accuracy, worth(accuracies, accuracy, len(found.files)))
    return pd.DataFrame([["linear", accuracy, low, high, len(found.files), FOLDS, REPEATS]], columns=COLUMNS)


def worth(accuracies: Sequence[float], accuracy: float, photos: int) -> float:
    """How many photos that one model has not seen would tell its accuracy as well as this cross-validation does.

    Models of two folds share most of their photos, so that accuracies of folds vary less than those of other photos
    would. Their variance is corrected for it (Nadeau and Bengio 2003, Inference for the generalization error; for
    repeats: Bouckaert and Frank 2004), and is at least that of counting: photos / 1.45, here. It is larger where
    photos of a group, which one fold has, are right or wrong together.
    """
    counting = accuracy * (1 - accuracy) * FOLDS / photos
    excess = max(1.0, float(np.var(accuracies, ddof=1)) / counting) if counting else 1.0
    return photos / (excess * (1 / REPEATS + FOLDS / (FOLDS - 1)))
