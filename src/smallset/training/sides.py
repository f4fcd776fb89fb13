"""The side that photos are resized to, as validation prefers: by logistic regression on the frozen base's output."""

from collections.abc import Callable, Iterator, Sequence

import keras
import pandas as pd

from smallset.datasets.lists import Photos
from smallset.models import engine
from smallset.pipeline import bulk, params
from smallset.pipeline.errors import SmallsetError
from smallset.training import linear_probe

# px. A larger one shows more, and costs by its square; 160 px told no set of photos better.
SIDES = (224, 288, 384)
FEW = 1_000  # photos; of more, the largest side is not tried
MOST = 800  # training photos, and validation photos, that the sides are tried on; of more, evenly spaced ones

Build = Callable[[int], keras.Model]  # the base for a side


def choose(build: Build, train: Photos, validation: Photos, given: int | None, p: params.Linear) -> pd.DataFrame:
    """A row for each side that is tried: side, C, val_loss, val_accuracy, chosen (of the lowest loss).

    given: the side that params.yaml names, whose row then is the only one, without measures.
    """
    if given:
        return pd.DataFrame([{"side": given, "C": None, "val_loss": None, "val_accuracy": None, "chosen": True}])
    found, wanted = [], tried(len(train.files) + len(validation.files))
    train, validation = (own.at(bulk.sample(own.labels, MOST)) for own in (train, validation))
    for side, base in bases(build, wanted):
        head = linear_probe.unsolved(base.output_shape[1:], len(train.classes))
        step = engine.compiled(linear_probe.pool(base, head))
        _, solved = linear_probe.choose(rows(step, train, side), rows(step, validation, side), p)
        found.append(solved[solved.chosen].assign(side=side))
    table = pd.concat(found, ignore_index=True)[["side", "C", "val_loss", "val_accuracy"]]
    return table.assign(chosen=table.index == int(table.val_loss.argmin()))


def tried(photos: int) -> Sequence[int]:
    """The sides that are tried for so many training and validation photos."""
    return SIDES if photos <= FEW else SIDES[:-1]


def bases(build: Build, wanted: Sequence[int]) -> Iterator[tuple[int, keras.Model]]:
    """The base for each side that it takes; not each is a multiple of its patch. SmallsetError if it takes none."""
    refused = []
    for side in wanted:
        try:
            base = build(side)
        except SmallsetError as error:
            print(f"{side} px is left out: {error}")
            refused.append(error)
        else:
            yield side, base
    if len(refused) == len(wanted):
        raise refused[-1]


def chosen(table: pd.DataFrame) -> int:
    """The side that a table of `choose` says is the best."""
    return int(table.side[table.chosen].iloc[0])


def rows(step: engine.Step, found: Photos, side: int) -> linear_probe.Rows:
    """step(photo) of each photo, (n, d)."""
    batches = engine.batches(step, found, side, f"{found.folder.name}, {side} px")
    return linear_probe.Rows(bulk.gathered(batches, len(found.files)), found.labels)
