"""The same training with other seeds: how far a result hangs on chance."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from smallset import (
    caches,
    calibration,
    evaluation,
    extraction,
    files,
    heads,
    models,
    params,
    photos,
    pooling,
    training,
)

SCORES = ["accuracy", "loss", "brier", "ece"]

Measures = Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, and how often."""

    build: Callable[[], keras.Model]  # called anew for each run, after Keras has been given its seed
    train: caches.Cache
    validation: caches.Cache
    test: caches.Cache
    p: params.Training
    count: int


def of_head(
    train: caches.Cache, validation: caches.Cache, test: caches.Cache, p: params.HeadTraining, count: int
) -> Plan:
    """The book's head on a base's features."""
    build = partial(heads.book, train.views.shape[2:], len(train.photos.classes), p.units, p.dropout)
    return Plan(build, train, validation, test, p, count)


def of_pooled(
    top: keras.Model,
    train: caches.Cache,
    validation: caches.Cache,
    test: caches.Cache,
    p: params.PooledTraining,
    count: int,
) -> Plan:
    """A base's top, on its trunk's activations, and the head that is solved for it."""
    tuned = models.chain([top, pooling.head(top, train, p)], "tuned")
    return Plan(again(tuned), train, validation, test, p, count)


def table(plans: Mapping[str, Plan], saved: Mapping[str, Measures], seed: int, backup: files.Backup) -> pd.DataFrame:
    """A row for each model and each of its seeds, from `seed` on: seed, the SCORES on the test photos, model.

    The first run is that of the saved model, as it was measured. Without cached views a model has no row: training is
    end to end then, and takes too long to be repeated.
    """
    rows = []
    for name, plan in plans.items():
        for drawn in range(seed, seed + plan.count) if len(plan.train.views) else ():
            own = replace(backup, fingerprint=f"{backup.fingerprint} {name} {drawn}")
            found = saved[name] if drawn == seed else scores(plan, drawn, own)
            rows.append({"seed": drawn, **found, "model": name})
    return pd.DataFrame(rows, columns=["seed", *SCORES, "model"])


def scores(plan: Plan, seed: int, backup: files.Backup) -> Measures:
    """The SCORES of one run with a seed, on the cached test photos. The saved model's seed gives the saved model."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    part = plan.build()
    training.fit(part, caches.load, plan.train, plan.validation, plan.p, seed, backup)
    backup.remove()
    probability = evaluation.probabilities(part.predict(caches.load(plan.test, plan.p.batch), verbose=0))
    [found] = calibration.scores(plan.test.labels, {"after": probability}, 1.0).to_dict("records")
    return {name: found[name] for name in SCORES}


def again(model: keras.Model) -> Callable[[], keras.Model]:
    """A `build` that gives a model the weights back that it has now."""
    weights: list[np.ndarray] = model.get_weights()

    def build() -> keras.Model:
        model.set_weights(weights)
        return model

    return build


@contextmanager
def features(part: keras.Model, found: photos.Photos, path: Path, backup: files.Backup) -> Iterator[caches.Cache]:
    """part(photo) for every photo, in a file that goes with the block: no later stage needs the test photos'."""
    draft = files.part(path)
    try:
        extraction.from_photos(part, found, {draft: extraction.PLAIN}, backup)
        yield caches.read(draft, found)
    finally:
        files.remove(draft)
        files.remove(draft.with_suffix(".csv"))
