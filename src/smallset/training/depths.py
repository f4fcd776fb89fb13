"""How much of a base is trained with the head that was solved for it, as validation prefers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.features import caches
from smallset.images import batches
from smallset.models import convnets, engine
from smallset.models.limits import Limits
from smallset.pipeline import params
from smallset.training import fitting, linear_probe, sides, transfer

FROZEN = "frozen"  # nothing: the model that `linear` is
TOP, WHOLE = "top", "whole"  # what follows the cut, on cached outputs of the trunk; all of it, from pixels
LIGHT = 10_000_000  # weights of a base; of more, an epoch of the whole takes longer than most want to wait
LEFT = 0.01  # of the validation photos, that `linear` gets wrong; of fewer, the whole base unlearns more than it learns
LEAST = 1e-7  # of a probability in a loss, as in training

Parts = Sequence[keras.Model]


@dataclass(frozen=True)
class Tuned:
    """A model from pixels to probabilities, and how it came about."""

    model: keras.Model
    temperature: float
    history: pd.DataFrame  # a row for each epoch, as fitting.fit has it; of the best depth that was trained
    choice: pd.DataFrame  # as `preferred` gives it
    limits: Limits


@dataclass(frozen=True)
class Trial:
    """What a depth came to."""

    depth: str
    fitted: fitting.Fitted
    weights: list[list[NDArray[np.float32]]]  # of each part
    known: linear_probe.Rows  # what the last layer is given of the validation photos
    probability: NDArray[np.float64]  # (n, classes) of these


def fit(parts: Parts, data: caches.Data, p: params.Tuning, run: fitting.Run) -> Tuned:
    """Train trunk, top and head on from the weights they have, to p.depth; None: to each that pays, and keep the best.

    The history is written to run.history.
    """
    start = weights(parts)
    tried = [] if p.depth else [trial(FROZEN, parts, data, p, run)]
    for depth in [p.depth] if p.depth else worthwhile(parts, tried[0]):
        put(parts, start)
        tried.append(trial(depth, parts, data, p, replace(run, checkpoint=run.checkpoint.beside(depth))))
    choice = preferred(tried)
    best = tried[int(choice["chosen"].argmax())]
    put(parts, best.weights)
    trained = best if len(best.fitted.history) else min(tried[1:], key=lambda one: one.fitted.history["val_loss"].min())
    print(f"kept: {best.depth}")
    limits = linear_probe.bounded(parts[-1], rows(best.depth, parts, data.train), best.known)
    return Tuned(joined(best.depth, parts), best.fitted.temperature, trained.fitted.history, choice, limits)


def affordable(parts: Parts) -> list[str]:
    """The depths that training may go to where none is given: the whole base only if it is small."""
    trunk, top, _ = parts
    return [TOP, WHOLE] if trunk.count_params() + top.count_params() <= LIGHT else [TOP]


def worthwhile(parts: Parts, start: Trial) -> list[str]:
    """Those that are tried: the whole base only where it was not nearly good enough as it is."""
    wrong = (start.probability.argmax(axis=1) != start.known.labels).mean()
    return affordable(parts) if wrong > LEFT else [TOP]


def trial(depth: str, parts: Parts, data: caches.Data, p: params.Tuning, run: fitting.Run) -> Trial:
    """Train the parts to one depth."""
    print(f"depth: {depth}")
    fitted = fit_to(depth, parts, data, p, run)
    known = rows(depth, parts, data.validation)
    return Trial(depth, fitted, weights(parts), known, linear_probe.judged(parts[-1], known))


def fit_to(depth: str, parts: Parts, data: caches.Data, p: params.Tuning, run: fitting.Run) -> fitting.Fitted:
    """What training leaves beside the weights; of FROZEN no epoch."""
    if depth == FROZEN:
        return fitting.Fitted(1.0, pd.DataFrame(columns=["epoch", *fitting.HISTORY]))
    if depth == TOP:
        return transfer.fit(parts[:1], parts[1:], data, p, run)[1]
    model = joined(depth, parts)
    return fitting.fit(model, from_pixels(model, p), data.train.photos, data.validation.photos, p, run)


def preferred(tried: Sequence[Trial]) -> pd.DataFrame:
    """A row for each depth: depth, epochs, val_loss, val_accuracy, above, se, chosen.

    The loss is that of the saved model, each photo counted once. above: how much higher than the lowest it is in the
    mean, se: the standard error of that difference over the photos. Chosen is the first, as long as it is no more than
    its se above the lowest (the one standard error rule, Breiman et al. 1984): nothing was trained, and chance tells of
    no gain. Otherwise it is the lowest: once the base is one of its own, a deeper one costs no more to keep or to use.
    """
    labels = tried[0].known.labels
    given = np.stack([one.probability[np.arange(len(labels)), labels] for one in tried])
    losses = -np.log(np.clip(given, LEAST, 1))
    above = losses - losses[losses.mean(axis=1).argmin()]
    table = pd.DataFrame(
        {
            "depth": [one.depth for one in tried],
            "epochs": [len(one.fitted.history) for one in tried],
            "val_loss": losses.mean(axis=1),
            "val_accuracy": [(one.probability.argmax(axis=1) == labels).mean() for one in tried],
            "above": above.mean(axis=1),
            "se": above.std(axis=1) / np.sqrt(len(labels)),
        }
    )
    enough = table["above"][0] <= table["se"][0]
    return table.assign(chosen=table.index == (0 if enough else table["val_loss"].argmin()))


def chosen(path: Path) -> str:
    """The depth that a table of choices says was the best."""
    table = pd.read_csv(path)
    return str(table.depth[table.chosen].iloc[0])


def rows(depth: str, parts: Parts, cache: caches.Cache) -> linear_probe.Rows:
    """What the last layer is given of the photos as they are; of a trunk that was trained, the cache says nothing."""
    trunk, top, head = parts
    if depth != WHOLE:
        return linear_probe.rows(top, head, replace(cache, values=cache.views[0]))
    step = engine.compiled(linear_probe.pool(convnets.chain([trunk, top], "base"), head))
    return sides.rows(step, cache.photos, trunk.input_shape[1])


def joined(depth: str, parts: Parts) -> keras.Model:
    """All parts as one model, trainable as deep as that."""
    frozen = {FROZEN: len(parts), TOP: 1, WHOLE: 0}[depth]
    return transfer.join(parts[:frozen], parts[frozen:])


def weights(parts: Parts) -> list[list[NDArray[np.float32]]]:
    """Of each part, as they are now."""
    return [part.get_weights() for part in parts]


def put(parts: Parts, own: Sequence[list[NDArray[np.float32]]]) -> None:
    """Give each part its weights."""
    for part, values in zip(parts, own, strict=True):
        part.set_weights(values)


def from_pixels(model: keras.Model, p: params.Tuning) -> fitting.Load:
    """Batches of photos as the model takes them, in fresh views in every epoch where p has an augmentation."""
    return partial(batches.load, size=model.input_shape[1], augment=p.augmentation)
