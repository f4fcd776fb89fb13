"""8.3+   Choose the side of larger photos by validation, and build the base for it."""

from functools import partial
from pathlib import Path

from smallset.bases import applications, weights
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.storage import files
from smallset.training import sides

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
CHOICE = Path("metrics/side/choice.csv")
BASE = Path("models/base/larger")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    tensors = weights.fetch(p.base.name, p.base.weights)
    build = partial(applications.build, p.base.name, tensors)
    train, validation = lists.splits(LISTS, SUBSET)
    choice = sides.choose(build, train, validation, p.larger.side, p.linear)
    files.write_csv(CHOICE, choice)
    for part in applications.split(build(sides.chosen(choice)), p.base.name, p.base.cut):
        saving.save(part, BASE / f"{part.name}.keras")


stage.run(main)
