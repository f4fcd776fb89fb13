"""8.2.3  Train a small convnet from scratch (listings 8.7-8.9)."""

from pathlib import Path

from smallset import files, images, models, photos, runtime, saving, stage, training

SUBSET = Path("data/subset")
HISTORY = Path("metrics/convnet/history.csv")
MODEL = Path("models/convnet.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train = images.load(photos.find(SUBSET / "train"), p.image.size, p.convnet.batch, p.seed)
    validation = images.load(photos.find(SUBSET / "validation"), p.image.size, p.convnet.batch)
    model = models.convnet(p.image.size)
    history = training.fit(model, train, validation, p.convnet)
    files.write_csv(HISTORY, history)
    saving.save(model, MODEL)


stage.run(main)
