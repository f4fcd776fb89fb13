"""8.3    Train what takes seconds or minutes again with other seeds, for error bars."""

import json
from pathlib import Path

from smallset import caches, files, models, photos, repeats, runtime, saving, stage

SUBSET = Path("data/subset")
BASE = Path("models/base")
FEATURES = Path("data/features")
LARGER = Path("data/larger")
METRICS = Path("metrics")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    found = {split: photos.find(SUBSET / split) for split in ("train", "validation", "test")}
    plain, known = (caches.read(FEATURES / f"photos/{split}.npy", found[split]) for split in ("train", "validation"))
    views = caches.read(FEATURES / "views/train.npy", found["train"])
    larger, larger_known = (caches.read(LARGER / f"{split}.npy", found[split]) for split in ("train", "validation"))
    base = models.chain([saving.load(BASE / f"{part}.keras") for part in ("trunk", "top")], "base")
    trunk, top = (saving.load(BASE / f"larger/{part}.keras") for part in ("trunk", "top"))
    backup = stage.backup(METRICS / "runs.csv")
    with (
        repeats.features(base, found["test"], FEATURES / "test.npy", backup) as test,
        repeats.features(trunk, found["test"], FEATURES / "larger.npy", backup) as larger_test,
    ):
        plans = {
            "classifier": repeats.of_head(plain, known, test, p.classifier, p.seeds.classifier),
            "augmented": repeats.of_head(views, known, test, p.augmented, p.seeds.augmented),
            "pooled": repeats.of_pooled(top, larger, larger_known, larger_test, p.pooled, p.seeds.pooled),
        }
        saved = {name: json.loads((METRICS / f"{name}.json").read_text()) for name in plans}
        files.write_csv(METRICS / "runs.csv", repeats.table(plans, saved, p.seed, backup))


stage.run(main)
