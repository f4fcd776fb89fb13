"""8.3.1  Train a head on the features of augmented photos (listings 8.23-8.25)."""

from pathlib import Path

from smallset.frozen import caches
from smallset.networks import heads, runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.training import fitting, transfer

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
BASE = Path("models/base")
FEATURES = Path("data/features")
HISTORY = Path("metrics/augmented/history.csv")
MODEL = Path("models/augmented.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(FEATURES / "views", FEATURES / "photos", train, validation)
    head = heads.book(data.train.views.shape[2:], len(train.classes), p.augmented.units, p.augmented.dropout)
    base = [saving.load(BASE / f"{part}.keras") for part in ("trunk", "top")]
    run = fitting.Run(p.seed, stage.backup(MODEL), HISTORY)
    model, fitted = transfer.fit_views(base, [head], data, p.augmented, run, p.augmentation)
    seen = train.digests + validation.digests
    saving.save(model, MODEL, train.classes, fitted.temperature, seen)
    run.backup.remove()


stage.run(main)
