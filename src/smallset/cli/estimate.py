"""How long a project's run will take on this machine, from a few batches: random weights take as long as any."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import keras
import numpy as np
import pandas as pd

from smallset.backbones import registry
from smallset.images import decoding
from smallset.models import convnets, engine, precision
from smallset.pipeline import params, provenance
from smallset.pipeline.errors import SmallsetError
from smallset.training import depths, fitting, linear_probe, sides, transfer

TIMED = 2  # batches, after a first one that compiles
DECODED = 24  # photos
LOOKS = 6  # how often a photo is decoded for something else than a network: splits, digests, hashes, pictures
BACK = 3  # a step of training the book's models takes as long as this many passes forward
LEAN, CHAPTER = 12, 31  # scripts that a run starts, each of which imports TensorFlow
MODELS = 2  # of a lean project, each of which sees the test photos once, pixels to probabilities


def estimate(paths: list[str], counts: pd.DataFrame, p: params.Params, start: float) -> str:
    """In words, as "about 4 minutes".

    paths: of all photos; counts: of them by class (rows) and split (columns); start: s, that a stage takes to begin.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of several graphs, each of which is wanted
    precision.prepare(p.seed, p.precision)
    train, validation, test = (int(counts[split].sum()) for split in ("train", "validation", "test"))
    wanted = [p.larger.side] if p.larger.side else sides.tried(train + validation)
    side = max(wanted)
    below, above = halves(p, side)
    photo = passing(below) + passing(above)  # s, forward
    tried = [] if p.larger.side else [(other / side) ** 2 for other in wanted]
    looks = train * (2 if p.larger.mirror else 1) + validation + MODELS * test
    few = min(train, sides.MOST) + min(validation, sides.MOST)
    seconds = LOOKS * decoding_one(paths) * len(paths) + (looks + few * sum(tried)) * photo
    seconds += p.pooled.epochs * (train * training((below, above), len(counts), p.pooled) + validation * photo)
    if "convnet" not in p.model_fields_set:
        return about(seconds + LEAN * start)
    more = sum(chapter(p, train, validation, test, passing(above)))
    return about(seconds + more + CHAPTER * start)


def training(base: tuple[keras.Model, keras.Model], classes: int, p: params.Tuning) -> float:
    """Seconds that one photo takes in a step of training, summed over the depths that `pooled` may try."""
    parts = [*base, linear_probe.unsolved(base[1].output_shape[1:], classes)]
    tried = [p.depth] if p.depth else depths.affordable(parts)
    return sum(step(parts if depth == depths.WHOLE else parts[1:], p) for depth in tried)


def step(parts: depths.Parts, p: params.Training) -> float:
    """Seconds that one photo takes through the parts, forth and back."""
    model = transfer.join([], parts)
    precision.suit(model)
    fitting.compiled(model, p, TIMED)
    values, labels = np.zeros((p.batch, *model.input_shape[1:]), np.float32), np.zeros((p.batch, 1), np.float32)
    return timed(lambda: model.train_on_batch(values, labels)) / p.batch


def chapter(p: params.Params, train: int, validation: int, test: int, larger: float) -> Iterator[float]:
    """Seconds of the book's models and of all error bars. larger: of a larger photo through the base's top."""
    below, above = map(passing, halves(p, p.image.side))
    epoch = BACK * train + validation
    yield (train * (1 + p.activations.views) + validation + 4 * test) * (below + above)
    yield p.seeds.fine_tune * p.fine_tune.epochs * epoch * above + p.seeds.pooled * p.pooled.epochs * epoch * larger
    for own in (p.convnet, p.convnet_augmented):
        yield own.epochs * epoch * passing(convnets.convnet(p.image.side, 2, own))


def halves(p: params.Params, side: int) -> tuple[keras.Model, keras.Model]:
    """The trunk and the top of the base, with random weights."""
    name = p.base.name
    return registry.split(registry.build(name, registry.plain(name).get_weights(), side), name, p.base.cut)


def passing(part: keras.Model) -> float:
    """Seconds that one photo takes through a part of a network that is not trained."""
    run, values = engine.compiled(part), np.zeros((engine.BATCH, *part.input_shape[1:]), np.float32)
    return timed(lambda: run(values)) / engine.BATCH


def timed(batch: Callable[[], object]) -> float:
    """Seconds that a batch takes, the first one left out."""
    batch()
    began = time.monotonic()
    for _ in range(TIMED):
        batch()
    return (time.monotonic() - began) / TIMED


def decoding_one(paths: list[str]) -> float:
    """Seconds that one photo takes to be decoded, if all threads do so; of a few, spread over all."""
    few = paths[:: max(1, len(paths) // DECODED)]
    began = time.monotonic()
    for path in few:
        with suppress(SmallsetError):  # subset leaves it out
            decoding.decode(path)
    return (time.monotonic() - began) / len(few) / provenance.threads()


def about(seconds: float) -> str:
    """Rounded as far as a guess deserves."""
    if seconds < 90:
        return "about a minute"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"
