"""8.2.5  Look at augmented photos (listing 8.15), and each model's most confident mistakes. Arguments: the models."""

import sys
from pathlib import Path

import pandas as pd

from smallset import augmentation, files, gallery, photos, plots, runtime, stage

SUBSET = Path("data/subset")
METRICS = Path("metrics")
PLOTS = Path("plots")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    augment = augmentation.build(p.augmentation, p.image.size, p.seed)
    plots.save(gallery.augmented(photos.find(SUBSET / "train"), augment), PLOTS / "augmented.png")
    with files.whole(PLOTS / "mistakes") as draft:
        for name in sys.argv[1:]:
            predictions = pd.read_csv(METRICS / name / "predictions.csv")
            plots.save(gallery.mistakes(predictions, SUBSET / "test"), draft / f"{name}.png")


stage.run(main)
