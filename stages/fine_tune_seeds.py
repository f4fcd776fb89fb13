"""8.3.2  Train augmented and from its head fine_tune again with other seeds, for error bars."""

import json
from pathlib import Path

from smallset import caches, files, models, photos, repeats, runtime, saving, stage

SUBSET = Path("data/subset")
BASE = Path("models/base")
FEATURES = Path("data/features")
ACTIVATIONS = Path("data/activations")
RUNS = Path("metrics/fine_tune/runs.csv")
SAVED = Path("metrics/fine_tune.json")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation, test = (photos.find(SUBSET / split) for split in ("train", "validation", "test"))
    trunk, top = (saving.load(BASE / f"{part}.keras") for part in ("trunk", "top"))
    features = caches.read(FEATURES / "views/train.npy", train)
    known = caches.read(FEATURES / "photos/validation.npy", validation)
    head = repeats.of_head(models.chain([trunk, top], "base"), features, known, p.augmented)
    views = caches.read(ACTIVATIONS / "views/train.npy", train)
    plain = caches.read(ACTIVATIONS / "photos/validation.npy", validation)
    backup = stage.backup(RUNS)
    plan = repeats.of_fine_tune(trunk, top, head, views, plain, p.fine_tune, backup)
    saved = json.loads(SAVED.read_text())
    files.write_csv(RUNS, repeats.table(plan, test, saved, p.seed, p.seeds.fine_tune, backup))
    backup.remove()


stage.run(main)
