"""8.3+   Choose the side of larger photos by validation, and build the base for it."""

from functools import partial
from pathlib import Path

from smallset.backbones import registry, weights
from smallset.datasets import lists
from smallset.models import model_file, precision
from smallset.pipeline import files, stage
from smallset.training import sides

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
CHOICE = Path("metrics/side/choice.csv")
BASE = Path("models/base/larger")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    tensors = weights.fetch(p.base.name, p.base.weights)
    build = partial(registry.build, p.base.name, tensors)
    train, validation = lists.splits(LISTS, SUBSET)
    choice = sides.choose(build, train, validation, p.larger.side, p.linear)
    files.write_csv(CHOICE, choice)
    for part in registry.split(build(sides.chosen(choice)), p.base.name, p.base.cut):
        model_file.save(part, BASE / f"{part.name}.keras")


stage.run(main)
