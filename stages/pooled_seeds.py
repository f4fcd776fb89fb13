"""8.3+   Train pooled again with other seeds, for error bars."""

import json
from pathlib import Path

from smallset import caches, files, photos, repeats, runtime, saving, stage

SUBSET = Path("data/subset")
BASE = Path("models/base/larger")
LARGER = Path("data/larger")
RUNS = Path("metrics/pooled/runs.csv")
SAVED = Path("metrics/pooled.json")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation, test = (photos.find(SUBSET / split) for split in ("train", "validation", "test"))
    trunk, top = (saving.load(BASE / f"{part}.keras") for part in ("trunk", "top"))
    views, known = caches.read(LARGER / "train.npy", train), caches.read(LARGER / "validation.npy", validation)
    plan = repeats.of_pooled(trunk, top, views, known, p.pooled)
    saved = json.loads(SAVED.read_text())
    backup = stage.backup(RUNS)
    files.write_csv(RUNS, repeats.table(plan, test, saved, p.seed, p.seeds.pooled, backup))
    backup.remove()


stage.run(main)
