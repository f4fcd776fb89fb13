"""8.3.1  Train a head on the features of augmented photos (listings 8.23-8.25)."""

from pathlib import Path

from smallset.datasets import lists
from smallset.features import caches
from smallset.models import heads, model_file, precision
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
    precision.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(FEATURES / "views", FEATURES / "photos", train, validation)
    head = heads.book(data.train.views.shape[2:], len(train.classes), p.augmented.units, p.augmented.dropout)
    base = [model_file.load(BASE / f"{part}.keras") for part in ("trunk", "top")]
    run = fitting.Run(p.seed, stage.checkpoint(MODEL), HISTORY)
    model, fitted = transfer.fit_views(base, [head], data, p.augmented, run, p.augmentation)
    seen = train.digests + validation.digests
    model_file.save(model, MODEL, train.classes, fitted.temperature, seen)
    run.checkpoint.remove()


stage.run(main)
