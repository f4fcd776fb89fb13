"""8.3.1  Train a head on the features of the photos as they are (listing 8.21)."""

from pathlib import Path

from smallset.datasets import lists
from smallset.features import caches
from smallset.models import heads, model_file, precision
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
    precision.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(PHOTOS, PHOTOS, train, validation)
    head = heads.book(data.train.views.shape[2:], len(train.classes), p.classifier.units, p.classifier.dropout)
    base = [model_file.load(BASE / f"{part}.keras") for part in ("trunk", "top")]
    run = fitting.Run(p.seed, stage.checkpoint(MODEL), HISTORY)
    model, fitted = transfer.fit(base, [head], data, p.classifier, run)
    seen = train.digests + validation.digests
    model_file.save(model, MODEL, train.classes, fitted.temperature, seen)
    run.checkpoint.remove()


stage.run(main)
