"""The same training with other seeds: how far a result hangs on chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.features import caches
from smallset.models import convnets, engine, heads, precision
from smallset.pipeline import cluster, params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import depths, fitting, transfer

Probabilities = NDArray[np.float32]  # (runs, n, classes)
Open = Callable[[Checkpoint], tuple["Plan", caches.Cache]]  # what opens a plan and its test photos' cache


@dataclass(frozen=True)
class Plan:
    """What is trained, and on what."""

    build: Callable[[int], keras.Model]  # untrained, for a seed that Keras has been given
    data: caches.Data
    p: params.Training
    chance: bool = True  # False where nothing is trained, so that nothing hangs on a seed
    pixels: fitting.Load | None = None  # what loads the photos of the cache, where it is trained on them and not on it

    def load(self, rows: caches.Cache, **how: int) -> tf.data.Dataset:
        """Batches of what is trained on, as fitting.Load has them."""
        return self.pixels(rows.photos, **how) if self.pixels else caches.load(rows, **how)


def of_head(data: caches.Data, p: params.HeadTraining) -> Plan:
    """The book's head on a base's features."""

    def build(_: int) -> keras.Model:
        return heads.book(data.train.views.shape[2:], len(data.train.photos.classes), p.units, p.dropout)

    return Plan(build, data, p)


def of_fine_tune(top: keras.Model, head: Plan, data: caches.Data, p: params.Training, checkpoint: Checkpoint) -> Plan:
    """A base's top, on its trunk's activations, and a head that is trained before with the same seed."""
    weights = top.get_weights()

    def build(seed: int) -> keras.Model:
        own = trained(head, seed, checkpoint.beside("head"))
        top.set_weights(weights)
        transfer.release([top, own])
        return convnets.chain([top, own], "tuned")

    return Plan(build, data, p)


def of_pooled(parts: depths.Parts, depth: str, data: caches.Data, p: params.Tuning) -> Plan:
    """Trunk, top and the head that was solved for them, trained to a depth: the seed draws order and views alone."""
    tuned = parts if depth == depths.WHOLE else parts[1:]
    transfer.release(tuned)
    model = convnets.chain(tuned, "tuned")
    weights = model.get_weights()

    def build(_: int) -> keras.Model:
        model.set_weights(weights)
        return model

    pixels = depths.from_pixels(model, p) if depth == depths.WHOLE else None
    return Plan(build, data, p, depth != depths.FROZEN, pixels)


def shared(opened: Open, seeds: Sequence[int], checkpoint: Checkpoint) -> Probabilities:
    """As `probabilities`: where there is a cluster, each seed on a worker of its own, which opens plan and cache."""
    if not seeds or not cluster.address():
        return probabilities(*opened(checkpoint), seeds, checkpoint)
    return np.concatenate([*cluster.results(partial(worker, precision.again(), opened, checkpoint), seeds, "seed")])


def worker(prepare: Callable[[], None], opened: Open, checkpoint: Checkpoint) -> Callable[[int], Probabilities]:
    """In a process of the cluster: what gives the run of a seed, (1, n, classes) or none of them."""
    prepare()

    def run(seed: int) -> Probabilities:
        own = checkpoint.beside(str(seed))
        return probabilities(*opened(own), [seed], own)

    return run


def probabilities(plan: Plan, test: caches.Cache, seeds: Sequence[int], checkpoint: Checkpoint) -> Probabilities:
    """What a run with each of the seeds gives for the test photos.

    There is no run without cached views, since training is end to end then and takes too long to be repeated, and none
    where nothing hangs on chance. One that was killed goes on with the run it was in.
    """
    shape = (0, len(test.photos.files), len(test.photos.classes))
    found = list(checkpoint.read().get("found", np.empty(shape, np.float32)))
    for seed in seeds[len(found) :] if plan.chance and len(plan.data.train.views) else ():
        step = engine.compiled(trained(plan, seed, checkpoint.beside("run")))
        outputs = [step(rows.numpy()) for rows, _ in plan.load(test, batch=plan.p.batch)]
        found.append(convnets.per_class(np.concatenate(outputs)).astype(np.float32))
        checkpoint.write(checkpoint.read() | {"found": np.array(found)})
    return np.array(found, np.float32).reshape(-1, *shape[1:])


def trained(plan: Plan, seed: int, checkpoint: Checkpoint) -> keras.Model:
    """What the plan builds for a seed, trained as its stage does.

    The saved model's seed gives the saved model; fine_tune's but for dropout, which draws anew where a head is loaded.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    part = plan.build(seed)
    own = replace(checkpoint, fingerprint=f"{checkpoint.fingerprint} {seed}")
    fitting.fit(part, plan.load, plan.data.train, plan.data.validation, plan.p, fitting.Run(seed, own))
    return part
