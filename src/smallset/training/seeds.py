"""Repeat the book's trainings with other seeds: how much of a result is chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from numpy.typing import NDArray

from smallset.features import activations
from smallset.models import convnets, engine
from smallset.models.probabilities import to_class_probabilities
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import fitting, transfer


@dataclass(frozen=True)
class Plan:
    """What to train, on which caches, and how. build: returns the untrained network for a seed that Keras has."""

    build: Callable[[int], keras.Model]
    data: activations.Data
    p: params.Training


def head_plan(data: activations.Data, p: params.Head) -> Plan:
    """Train the book's head on cached features."""
    return Plan(lambda _: transfer.build_head(data, p), data, p)


def fine_tune_plan(
    last_block: keras.Model, head: Plan, data: activations.Data, p: params.Training, checkpoint: Checkpoint
) -> Plan:
    """Train a backbone's last block on cached activations, with a head that is trained before with the same seed."""
    weights = last_block.get_weights()

    def build(seed: int) -> keras.Model:
        parts = [last_block, train(head, seed, checkpoint.beside("head"))]
        last_block.set_weights(weights)
        transfer.unfreeze(parts)
        return convnets.join(parts, "trainable")

    return Plan(build, data, p)


def repeat(plan: Plan, test: activations.Cache, seeds: Sequence[int], checkpoint: Checkpoint) -> NDArray[np.float32]:
    """Train with each seed, and return the probabilities of the test photos, (runs, n, classes).

    A killed call continues where it was. Without cached views nothing is repeated, because that would take too long.
    """
    shape = (0, len(test.dataset), len(test.dataset.classes))
    runs = list(checkpoint.read().get("runs", np.empty(shape, np.float32)))
    for seed in seeds[len(runs) :] if len(plan.data.train.views) else ():
        step = engine.compile_network(train(plan, seed, checkpoint.beside("run")))
        outputs = [step(rows.numpy()) for rows, _ in activations.load(test, batch_size=plan.p.batch_size)]
        runs.append(to_class_probabilities(np.concatenate(outputs)).astype(np.float32))
        checkpoint.write(checkpoint.read() | {"runs": np.array(runs)})
    return np.array(runs, np.float32).reshape(-1, *shape[1:])


def train(plan: Plan, seed: int, checkpoint: Checkpoint) -> keras.Model:
    """Train as the stage does with this seed; except for fine_tune, whose loaded head drops other values."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    network = plan.build(seed)
    run = fitting.Run(seed, replace(checkpoint, fingerprint=f"{checkpoint.fingerprint} {seed}"))
    fitting.fit(network, activations.load, plan.data.train, plan.data.validation, plan.p, run)
    return network
