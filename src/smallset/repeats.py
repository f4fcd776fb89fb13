"""The same training with other seeds: how far a result hangs on chance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Plan:
    """What is trained, and on what."""

    frozen: keras.Model  # from pixels to what is cached
    build: Callable[[int], keras.Model]  # untrained, for a seed that Keras has been given
    train: caches.Cache
    validation: caches.Cache
    p: params.Training


def of_head(base: keras.Model, train: caches.Cache, validation: caches.Cache, p: params.HeadTraining) -> Plan:
    """The book's head on a base's features."""

    def build(_: int) -> keras.Model:
        return heads.book(train.views.shape[2:], len(train.photos.classes), p.units, p.dropout)

    return Plan(base, build, train, validation, p)


def of_fine_tune(
    trunk: keras.Model,
    top: keras.Model,
    head: Plan,
    train: caches.Cache,
    validation: caches.Cache,
    p: params.Training,
    backup: files.Backup,
) -> Plan:
    """A base's top, on its trunk's activations, and a head that is trained before with the same seed."""
    weights = top.get_weights()

    def build(seed: int) -> keras.Model:
        own = trained(head, seed, beside(backup, "head"))
        top.set_weights(weights)
        return models.chain([top, own], "tuned")

    return Plan(trunk, build, train, validation, p)


def of_pooled(
    trunk: keras.Model, top: keras.Model, train: caches.Cache, validation: caches.Cache, p: params.PooledTraining
) -> Plan:
    """A base's top, on its trunk's activations, and the head that is solved for it: the seed draws the order alone."""
    tuned = models.chain([top, pooling.head(top, train, p)], "tuned")
    weights = tuned.get_weights()

    def build(_: int) -> keras.Model:
        tuned.set_weights(weights)
        return tuned

    return Plan(trunk, build, train, validation, p)


def table(
    plan: Plan, test: photos.Photos, saved: Mapping[str, float], seed: int, count: int, backup: files.Backup
) -> pd.DataFrame:
    """A row for each of `count` seeds, from `seed` on: seed and the SCORES on the test photos.

    The first run is that of the saved model, as it was measured. Without cached views there is no row: training is
    end to end then, and takes too long to be repeated. One that was killed goes on with the run it was in.
    """
    if not len(plan.train.views):
        return pd.DataFrame(columns=["seed", *SCORES])
    others = further(plan, test, range(seed + 1, seed + count), backup) if count > 1 else []
    table = pd.DataFrame([[saved[name] for name in SCORES], *others], columns=SCORES)
    table.insert(0, "seed", range(seed, seed + count))
    return table


def further(plan: Plan, test: photos.Photos, seeds: Sequence[int], backup: files.Backup) -> list[list[float]]:
    """The SCORES of a run with each of the seeds, kept in the backup as they come."""
    with features(plan.frozen, test, backup.path.with_name("test.npy"), backup) as cache:
        found: list[list[float]] = backup.read().get("scores", np.empty(0)).tolist()
        for seed in seeds[len(found) :]:
            found.append(scores(trained(plan, seed, beside(backup, "run")), cache, plan.p.batch))
            backup.write(backup.read() | {"scores": np.array(found)})
    for kind in ("run", "head"):
        beside(backup, kind).remove()
    return found


def trained(plan: Plan, seed: int, backup: files.Backup) -> keras.Model:
    """What the plan builds for a seed, trained as its stage does.

    The saved model's seed gives the saved model; fine_tune's but for dropout, which draws anew where a head is loaded.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    part = plan.build(seed)
    own = replace(backup, fingerprint=f"{backup.fingerprint} {seed}")
    training.fit(part, caches.load, plan.train, plan.validation, plan.p, seed, own)
    return part


def scores(part: keras.Model, test: caches.Cache, batch: int) -> list[float]:
    """The SCORES of a trained part on the cached test photos."""
    probability = evaluation.probabilities(part.predict(caches.load(test, batch), verbose=0))
    [found] = calibration.scores(test.labels, {"after": probability}, 1.0).to_dict("records")
    return [found[name] for name in SCORES]


def beside(backup: files.Backup, kind: str) -> files.Backup:
    """Another backup of the same inputs."""
    return replace(backup, path=backup.path.with_suffix(f".{kind}.npz"))


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
