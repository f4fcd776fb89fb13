"""8.3.1  Train the heads again with other seeds, for error bars."""

from functools import partial
from pathlib import Path

import pandas as pd

from smallset import caches, files, heads, models, photos, repeats, runtime, saving, stage

SUBSET = Path("data/subset")
BASE = Path("models/base")
FEATURES = Path("data/features")
RUNS = Path("metrics/runs.csv")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation, test = (photos.find(SUBSET / split) for split in ("train", "validation", "test"))
    plain, views = (caches.read(FEATURES / f"{kind}/train.npy", train) for kind in ("photos", "views"))
    again = {
        "classifier": (plain, p.classifier, p.seeds.classifier),
        "augmented": (views, p.augmented, p.seeds.augmented),
    }
    known = caches.read(FEATURES / "photos/validation.npy", validation)
    base = models.chain([saving.load(BASE / f"{part}.keras") for part in ("trunk", "top")], "base")
    backup, tables = stage.backup(RUNS), []
    with repeats.features(base, test, FEATURES, backup) as unknown:
        for name, (rows, own, count) in again.items():
            build = partial(heads.book, known.views.shape[2:], len(train.classes), own.units, own.dropout)
            runs = repeats.runs(build, rows, known, unknown, own, range(p.seed, p.seed + count), backup)
            tables.append(runs.assign(model=name))
    files.write_csv(RUNS, pd.concat(tables))


stage.run(main)
