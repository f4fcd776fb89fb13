"""8.3.1  Train a head on the features of the photos as they are (listing 8.21)."""

from pathlib import Path

from smallset.frozen import caches
from smallset.networks import heads, runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.training import fitting, transfer

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
BASE = Path("models/base")
PHOTOS = Path("data/features/photos")
HISTORY = Path("metrics/classifier/history.csv")
MODEL = Path("models/classifier.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(PHOTOS, PHOTOS, train, validation)
    head = heads.book(data.train.views.shape[2:], len(train.classes), p.classifier.units, p.classifier.dropout)
    base = [saving.load(BASE / f"{part}.keras") for part in ("trunk", "top")]
    run = fitting.Run(p.seed, stage.backup(MODEL), HISTORY)
    model, fitted = transfer.fit(base, [head], data, p.classifier, run)
    seen = train.digests + validation.digests
    saving.save(model, MODEL, train.classes, fitted.temperature, seen)
    run.backup.remove()


stage.run(main)
