"""8.2.5  Train the convnet on augmented photos, with dropout (listings 8.14-8.17)."""

from functools import partial
from pathlib import Path

from smallset.networks import models, runtime, saving
from smallset.photos import images, lists
from smallset.pipeline import stage
from smallset.training import fitting

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
HISTORY = Path("metrics/convnet_augmented/history.csv")
MODEL = Path("models/convnet_augmented.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    model = models.convnet(p.image.side, len(train.classes), p.convnet_augmented)
    load = partial(images.load, size=p.image.side, augment=p.augmentation)
    run = fitting.Run(p.seed, stage.backup(MODEL), HISTORY)
    fitted = fitting.fit(model, load, train, validation, p.convnet_augmented, run)
    seen = train.digests + validation.digests
    saving.save(model, MODEL, train.classes, fitted.temperature, seen)
    run.backup.remove()


stage.run(main)
