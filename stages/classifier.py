"""8.3.1  Train a head on the features of the photos as they are (listing 8.21)."""

from pathlib import Path

from smallset import caches, files, heads, photos, runtime, saving, stage, transfer

SUBSET = Path("data/subset")
BASE = Path("models/base")
FEATURES = Path("data/features")
HISTORY = Path("metrics/classifier/history.csv")
MODEL = Path("models/classifier.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train = caches.read(FEATURES / "photos/train.npy", photos.find(SUBSET / "train"))
    validation = caches.read(FEATURES / "photos/validation.npy", photos.find(SUBSET / "validation"))
    head = heads.book(train.views.shape[2:], len(train.photos.classes), p.classifier.units, p.classifier.dropout)
    trunk, top = (saving.load(BASE / f"{part}.keras") for part in ("trunk", "top"))
    backup = stage.backup(MODEL)
    model, history, temperature = transfer.fit([trunk, top], [head], train, validation, p.classifier, p.seed, backup)
    files.write_csv(HISTORY, history)
    saving.save(model, MODEL, train.photos.classes, temperature)
    backup.remove()


stage.run(main)
