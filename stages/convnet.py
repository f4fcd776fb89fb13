"""8.2.3  Train a small convnet from scratch (listings 8.7-8.11)."""

from pathlib import Path

from smallset import files, images, models, photos, runtime, saving, stage, training

SUBSET = Path("data/subset")
HISTORY = Path("metrics/convnet/history.csv")
MODEL = Path("models/convnet.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = (photos.find(SUBSET / split) for split in ("train", "validation"))
    model = models.convnet(p.image.size, len(train.classes))
    batches = (
        images.load(train, p.image.size, p.convnet.batch, p.seed),
        images.load(validation, p.image.size, p.convnet.batch),
    )
    history = training.fit(model, *batches, train.labels, p.convnet)
    files.write_csv(HISTORY, history)
    saving.save(model, MODEL, train.classes)


stage.run(main)
