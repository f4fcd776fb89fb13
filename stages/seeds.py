"""8.3    Train what takes seconds or minutes again with other seeds, for error bars."""

from functools import partial
from pathlib import Path

from smallset import caches, files, heads, models, photos, pooling, repeats, runtime, saving, stage

SUBSET = Path("data/subset")
BASE = Path("models/base")
FEATURES = Path("data/features")
LARGER = Path("data/larger")
RUNS = Path("metrics/runs.csv")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    found = {split: photos.find(SUBSET / split) for split in ("train", "validation", "test")}
    plain, known = (caches.read(FEATURES / f"photos/{split}.npy", found[split]) for split in ("train", "validation"))
    views = caches.read(FEATURES / "views/train.npy", found["train"])
    larger, larger_known = (caches.read(LARGER / f"{split}.npy", found[split]) for split in ("train", "validation"))
    parts = {name: saving.load(BASE / f"{name}.keras") for name in ("trunk", "top", "larger/trunk", "larger/top")}
    base = models.chain([parts["trunk"], parts["top"]], "base")
    tuned = models.chain([parts["larger/top"], pooling.head(parts["larger/top"], larger, p.pooled)], "tuned")
    book, backup = partial(heads.book, base.output_shape[1:], len(plain.photos.classes)), stage.backup(RUNS)
    with (
        repeats.features(base, found["test"], FEATURES / "test.npy", backup) as test,
        repeats.features(parts["larger/trunk"], found["test"], FEATURES / "larger.npy", backup) as larger_test,
    ):
        first, second = (partial(book, own.units, own.dropout) for own in (p.classifier, p.augmented))
        plans = {
            "classifier": repeats.Plan(first, plain, known, test, p.classifier, p.seeds.classifier),
            "augmented": repeats.Plan(second, views, known, test, p.augmented, p.seeds.augmented),
            "pooled": repeats.Plan(repeats.again(tuned), larger, larger_known, larger_test, p.pooled, p.seeds.pooled),
        }
        files.write_csv(RUNS, repeats.table(plans, p.seed, backup))


stage.run(main)
