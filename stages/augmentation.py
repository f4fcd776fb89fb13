"""8.2.5  Look at one training photo, augmented nine times (listing 8.15)."""

from pathlib import Path

import numpy as np

from smallset import augmentation, images, photos, plots, runtime, stage

TRAIN = Path("data/subset/train")
PICTURE = Path("plots/augmented.png")
DRAWS = 9


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    augment = augmentation.build(p.augmentation, p.image.side, p.seed)
    found = photos.find(TRAIN)
    photo = images.pixels(found.at(found.spread(1)), p.image.side)
    draws = [np.asarray(augment(photo, training=True))[0] for _ in range(DRAWS)]
    plots.save(plots.grid(draws, [""] * DRAWS, columns=3), PICTURE)


stage.run(main)
