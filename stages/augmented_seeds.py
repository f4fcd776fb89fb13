"""8.3.1  Train the head of augmented again with other seeds, for error bars."""

import json
from pathlib import Path

from smallset import caches, files, models, photos, repeats, runtime, saving, stage

SUBSET = Path("data/subset")
BASE = Path("models/base")
FEATURES = Path("data/features")
RUNS = Path("metrics/augmented/runs.csv")
SAVED = Path("metrics/augmented.json")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation, test = (photos.find(SUBSET / split) for split in ("train", "validation", "test"))
    base = models.chain([saving.load(BASE / f"{part}.keras") for part in ("trunk", "top")], "base")
    features = caches.read(FEATURES / "views/train.npy", train)
    known = caches.read(FEATURES / "photos/validation.npy", validation)
    plan = repeats.of_head(base, features, known, p.augmented)
    saved = json.loads(SAVED.read_text())
    backup = stage.backup(RUNS)
    files.write_csv(RUNS, repeats.table(plan, test, saved, p.seed, p.seeds.augmented, backup))
    backup.remove()


stage.run(main)
