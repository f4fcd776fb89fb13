"""8.3.1  Train a head on the features of augmented photos (listings 8.23-8.25)."""

from pathlib import Path

from smallset import augmentation, caches, files, heads, photos, runtime, saving, stage, transfer

SUBSET = Path("data/subset")
BASE = Path("models/base")
FEATURES = Path("data/features")
HISTORY = Path("metrics/augmented/history.csv")
MODEL = Path("models/augmented.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train = caches.read(FEATURES / "views/train.npy", photos.find(SUBSET / "train"))
    validation = caches.read(FEATURES / "photos/validation.npy", photos.find(SUBSET / "validation"))
    head = heads.book(train.views.shape[2:], len(train.photos.classes), p.augmented.units, p.augmented.dropout)
    trunk, top = (saving.load(BASE / f"{part}.keras") for part in ("trunk", "top"))
    augment = augmentation.build(p.augmentation, p.image.side, p.seed)
    backup = stage.backup(MODEL)
    parts = [trunk, top], [head]
    model, history, temperature = transfer.fit_views(*parts, train, validation, p.augmented, p.seed, backup, augment)
    files.write_csv(HISTORY, history)
    saving.save(model, MODEL, train.photos.classes, temperature)
    backup.remove()


stage.run(main)
