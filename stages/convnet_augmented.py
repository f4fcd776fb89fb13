"""8.2.5  Train the convnet on augmented photos, with dropout (listings 8.14-8.17)."""

from pathlib import Path

from smallset import augmentation, files, images, models, photos, runtime, saving, stage, training

SUBSET = Path("data/subset")
HISTORY = Path("metrics/convnet_augmented/history.csv")
MODEL = Path("models/convnet_augmented.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train = images.load(photos.find(SUBSET / "train"), p.image.size, p.convnet_augmented.batch, p.seed)
    validation = images.load(photos.find(SUBSET / "validation"), p.image.size, p.convnet_augmented.batch)
    model = models.convnet(p.image.size, p.convnet_augmented.dropout)
    augment = augmentation.build(p.augmentation, p.image.size, p.seed)
    history = training.fit(models.chain([augment, model], "convnet_augmented"), train, validation, p.convnet_augmented)
    files.write_csv(HISTORY, history)
    saving.save(model, MODEL)


stage.run(main)
