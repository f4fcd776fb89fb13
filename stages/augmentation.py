"""8.2.5  Look at one training photo, augmented nine times (listing 8.15)."""

from pathlib import Path

import numpy as np

from smallset.datasets import lists
from smallset.images import augmentation, batches
from smallset.pipeline import stage
from smallset.reports import figures

TRAIN = Path("data/subset/train")
LIST = Path("metrics/subset/train.csv")
PICTURE = Path("plots/augmented.png")
DRAWS = 9


def main() -> None:
    p = stage.load_params()
    found = lists.read(LIST, TRAIN)
    one = found.at(found.spread(1))
    photo, size = batches.pixels(one, p.image.side), p.image.side
    views = [augmentation.view(p.augmentation, size, p.seed, number) for number in range(DRAWS)]
    draws = [np.asarray(view(photo, one))[0] for view in views]
    figures.save(figures.grid(draws, [""] * DRAWS, columns=3), PICTURE)


stage.run(main)
