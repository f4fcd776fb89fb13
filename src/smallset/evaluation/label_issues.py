"""Photos whose label may be wrong: those that a model, trained on the others, gives another one."""

from collections.abc import Iterator, Mapping
from itertools import chain

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smallset.features import caches
from smallset.models import engine
from smallset.pipeline import bulk
from smallset.pipeline.errors import SmallsetError

FOLDS = 5
# Strong regularisation, or the model believes the wrong labels that it is trained on: of 2 % swapped labels of cats and
# dogs, on VGG16's features at 256 px, the first ranks (1.5 times as many) held 95 % with C from 0.003 to 0.01, 85 %
# with 0.1, 75 % with 1, in the mean of five draws; on five further draws 91 % with 0.01.
C = 0.01
ITERATIONS = 1000
PIECE = 64  # rows that are pooled at once: 3 MB of VGG16's block5 at 180 px
LEAST = 50  # ranks that are listed however sure the model is
SHARE = 0.02  # of all photos, likewise


def pooled(values: caches.Array, top: keras.Model | None = None) -> Iterator[NDArray[np.float32]]:
    """The mean over space of features (n, h, w, c), or of what `top` makes of them: (n, c), a piece at a time."""
    step = engine.compiled(top) if top is not None else np.asarray
    pieces = (values[at : at + PIECE].astype(np.float32) for at in range(0, len(values), PIECE))
    return (step(piece).mean(axis=(1, 2)) for piece in pieces)


def find(cached: Mapping[str, caches.Cache], seed: int, top: keras.Model | None = None) -> pd.DataFrame:
    """The photos of all splits whose given label is least probable, as `ranked` lists them.

    cached: what a base, or its trunk below `top`, gives for the photos; of several views the first one counts. A
    photo's probabilities are from a model that has not seen it: with the label in its training, it would confirm it.
    """
    found = {split: cache.photos for split, cache in cached.items()}
    labels = np.concatenate([cache.labels for cache in cached.values()])
    pieces = chain.from_iterable(pooled(cache.views[0], top) for cache in cached.values())
    features = bulk.gathered(pieces, len(labels))
    classes = next(iter(found.values())).classes
    table = pd.DataFrame(
        [(file, split) for split, own in found.items() for file in own.files], columns=["file", "split"]
    )
    return ranked(table, labels, out_of_fold(features, labels, classes, seed), classes)


def out_of_fold(
    features: bulk.Rows, labels: NDArray[np.int64], classes: tuple[str, ...], seed: int
) -> NDArray[np.float64]:
    """P(class) of each of n photos by logistic regression on the other folds: (n, classes), from features (n, c).

    Up to five folds, drawn with the seed, each with its share of every class; as many as the smallest class has photos.
    Of features in a file a model is solved on as many as are held in memory, evenly spaced.
    """
    counts = np.bincount(labels, minlength=len(classes))
    folds = min(FOLDS, int(counts.min()))
    if folds < 2:
        raise SmallsetError(
            f"data/subset: {classes[counts.argmin()]}: {counts.min()} photos for training and validation, "
            f"expected 2 or more, one to be judged by the other. Add photos of that class."
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=ITERATIONS))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    found = np.empty((len(labels), len(classes)))
    for others, own in split.split(labels, labels):
        few = others[bulk.sample(labels[others], bulk.held(features))]
        model.fit(bulk.read(features, few), labels[few])
        found[own] = bulk.each(model.predict_proba, features)[own]
    return found


def ranked(
    table: pd.DataFrame, labels: NDArray[np.int64], probability: NDArray[np.float64], classes: tuple[str, ...]
) -> pd.DataFrame:
    """Rows by rank from 1, the given label's probability ascending: rank, file, split, label, suspected, probability.

    suspected is the likeliest other class. Listed are the photos with a probability below 0.5, and of the others as
    many as make 50 rows or 2 % of all. This order is self-confidence (Northcutt, Jiang and Chuang 2021, Confident
    learning, JAIR).
    """
    rows, names = np.arange(len(labels)), np.array(classes, dtype=object)
    others = probability.copy()
    others[rows, labels] = -1
    given = probability[rows, labels]
    full = table.assign(label=names[labels], suspected=names[others.argmax(axis=1)], probability=given)
    full = full.sort_values("probability", kind="stable").head(
        max(LEAST, round(SHARE * len(full)), (given < 0.5).sum())
    )
    full.insert(0, "rank", np.arange(1, len(full) + 1))
    return full
