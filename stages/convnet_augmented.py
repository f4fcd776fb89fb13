"""8.2.5  Train the convnet on augmented photos, with dropout (listings 8.14-8.17)."""

from functools import partial
from pathlib import Path

from smallset import augmentation, files, images, models, photos, runtime, saving, stage, training

SUBSET = Path("data/subset")
HISTORY = Path("metrics/convnet_augmented/history.csv")
MODEL = Path("models/convnet_augmented.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = (photos.find(SUBSET / split) for split in ("train", "validation"))
    model = models.convnet(p.image.side, len(train.classes), p.convnet_augmented)
    augment = augmentation.build(p.augmentation, p.image.side, p.seed)
    load = partial(images.load, size=p.image.side)
    backup = stage.backup(MODEL)
    end_to_end = models.chain([augment, model], "convnet_augmented")
    history, temperature = training.fit(end_to_end, load, train, validation, p.convnet_augmented, p.seed, backup)
    files.write_csv(HISTORY, history)
    saving.save(model, MODEL, train.classes, temperature)
    backup.remove()


stage.run(main)
