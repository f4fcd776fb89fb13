"""8.2.5  Look at one training photo, augmented nine times (listing 8.15)."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

from pathlib import Path

import numpy as np

from smallset.datasets.dataset import Dataset
from smallset.images import augmentation, batches
from smallset.pipeline import stage
from smallset.reports import figures

VIEWS = 9


def main() -> None:
    p = stage.load_params()
    photo = Dataset.read().train.take([0])
    pixels = batches.pixels(photo, p.image_size)
    views = [augmentation.view(p.augmentation, p.image_size, p.seed, number) for number in range(VIEWS)]
    pictures = [np.asarray(view(pixels, photo))[0] for view in views]
    figures.save(figures.grid(pictures, [""] * VIEWS, columns=3), Path("plots/augmented.png"))


stage.run(main)
