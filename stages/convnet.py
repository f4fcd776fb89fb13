"""8.2.3  Train a small convnet from scratch (listings 8.7-8.11). Argument: the model's name, a key of params.yaml."""

import sys
from functools import partial
from pathlib import Path

from smallset import files, images, models, photos, runtime, saving, stage, training

SUBSET = Path("data/subset")
MODELS = Path("models")
METRICS = Path("metrics")


def main() -> None:
    name = sys.argv[1]
    p = stage.load_params()
    own = getattr(p, name)
    runtime.prepare(p.seed, p.precision)
    train, validation = (photos.find(SUBSET / split) for split in ("train", "validation"))
    model = models.convnet(p.image.side, len(train.classes), own)
    backup = stage.backup(MODELS / f"{name}.keras")
    load = partial(images.load, size=p.image.side)
    history, temperature = training.fit(model, load, train, validation, own, p.seed, backup)
    files.write_csv(METRICS / name / "history.csv", history)
    saving.save(model, MODELS / f"{name}.keras", train.classes, temperature)
    backup.remove()


stage.run(main)
