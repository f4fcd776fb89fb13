"""How much of a base is trained with the head that was solved for it, as validation prefers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from smallset.frozen import caches
from smallset.networks import inference, models
from smallset.networks.limits import Limits
from smallset.photos import images
from smallset.pipeline import params
from smallset.training import fitting, pooling, sides, transfer

TOP, WHOLE = "top", "whole"  # what follows the cut, on cached outputs of the trunk; all of it, from pixels
LIGHT = 10_000_000  # weights of a base; of more, an epoch of the whole takes longer than most want to wait
LEFT = 0.01  # of the validation photos, that `linear` gets wrong; of fewer, the whole base unlearns more than it learns

Parts = Sequence[keras.Model]


@dataclass(frozen=True)
class Tuned:
    """A model from pixels to probabilities, and how it came about."""

    model: keras.Model
    temperature: float
    history: pd.DataFrame  # a row for each epoch, as fitting.fit has it
    choice: pd.DataFrame  # a row for each depth that was tried: depth, epochs, val_loss, val_accuracy, chosen
    limits: Limits | None = None  # of the best


def fit(parts: Parts, data: caches.Data, p: params.Tuning, run: fitting.Run) -> Tuned:
    """Train trunk, top and head on from the weights they have, to p.depth; None: to each that pays, and keep the best.

    The best is the one of the lowest validation loss. The history is written to run.history.
    """
    start = [part.get_weights() for part in parts]
    tried: list[tuple[Tuned, list[np.ndarray]]] = []
    for depth in [p.depth] if p.depth else worthwhile(parts, data.validation):
        for part, weights in zip(parts, start, strict=True):
            part.set_weights(weights)
        tuned = fit_to(depth, parts, data, p, replace(run, backup=run.backup.beside(depth)))
        tried.append((tuned, tuned.model.get_weights()))
    choice = pd.concat([tuned.choice for tuned, _ in tried], ignore_index=True)
    best = int(choice.val_loss.argmin())
    tuned, weights = tried[best]
    tuned.model.set_weights(weights)
    print(f"trained: {choice.depth[best]}, of the lowest validation loss, {choice.val_loss[best]:.4f}")
    limits = bounded(choice.depth[best], parts, data)
    return replace(tuned, choice=choice.assign(chosen=choice.index == best), limits=limits)


def bounded(depth: str, parts: Parts, data: caches.Data) -> Limits:
    """Where the word of the trained model ends; of a trunk that was trained, the cache says nothing any more."""
    trunk, top, head = parts
    cached = data.train, data.validation
    if depth == TOP:
        rows = [pooling.rows(top, head, replace(cache, values=cache.views[0])) for cache in cached]
    else:
        step = inference.compiled(pooling.pool(models.chain([trunk, top], "base"), head))
        rows = [sides.rows(step, cache.photos, trunk.input_shape[1]) for cache in cached]
    return pooling.bounded(head, *rows)


def worthwhile(parts: Parts, validation: caches.Cache) -> list[str]:
    """The depths to try where none is given: the whole base only if it is small, and was not good enough as it is."""
    trunk, top, head = parts
    known = pooling.rows(top, head, replace(validation, values=validation.views[0]))
    given = models.per_class(np.asarray(head.layers[-1](known.inputs)))
    light = trunk.count_params() + top.count_params() <= LIGHT
    return [TOP, WHOLE] if light and (given.argmax(axis=1) != known.labels).mean() > LEFT else [TOP]


def chosen(path: Path) -> str:
    """The depth that a table of choices says was the best."""
    table = pd.read_csv(path)
    return str(table.depth[table.chosen].iloc[0])


def fit_to(depth: str, parts: Parts, data: caches.Data, p: params.Tuning, run: fitting.Run) -> Tuned:
    """Train the parts to one depth."""
    print(f"training to depth: {depth}")
    if depth == TOP:
        model, fitted = transfer.fit(parts[:1], parts[1:], data, p, run)
    else:
        model = transfer.join([], parts)
        fitted = fitting.fit(model, from_pixels(model, p), data.train.photos, data.validation.photos, p, run)
    best = fitted.history.loc[fitted.history.val_loss.argmin()]
    told = {"depth": depth, "epochs": len(fitted.history), "val_loss": best.val_loss, "val_accuracy": best.val_accuracy}
    return Tuned(model, fitted.temperature, fitted.history, pd.DataFrame([told]))


def from_pixels(model: keras.Model, p: params.Tuning) -> fitting.Load:
    """Batches of photos as the model takes them, in fresh views in every epoch where p has an augmentation."""
    return partial(images.load, size=model.input_shape[1], augment=p.augmentation)
