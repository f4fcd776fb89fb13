"""8.2.5  Train the convnet on augmented photos, with dropout (listings 8.14-8.17)."""

from functools import partial
from pathlib import Path

from smallset.datasets import lists
from smallset.images import batches
from smallset.models import convnets, model_file, precision
from smallset.pipeline import stage
from smallset.training import fitting

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
HISTORY = Path("metrics/convnet_augmented/history.csv")
MODEL = Path("models/convnet_augmented.keras")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    model = convnets.convnet(p.image.side, len(train.classes), p.convnet_augmented)
    load = partial(batches.load, size=p.image.side, augment=p.augmentation)
    run = fitting.Run(p.seed, stage.checkpoint(MODEL), HISTORY)
    fitted = fitting.fit(model, load, train, validation, p.convnet_augmented, run)
    seen = train.digests + validation.digests
    model_file.save(model, MODEL, train.classes, fitted.temperature, seen)
    run.checkpoint.remove()


stage.run(main)
