"""8.3    Find photos whose label may be wrong."""

from pathlib import Path

from smallset.frozen import caches
from smallset.measures import suspects
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.showing import plots
from smallset.storage import files

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
FEATURES = Path("data/features/photos")
TABLE = Path("metrics/suspects.csv")
PICTURE = Path("plots/suspects.png")


def main() -> None:
    p = stage.load_params()
    found = {split: lists.read(LISTS / f"{split}.csv", SUBSET / split) for split in ("train", "validation")}
    cached = {split: caches.read(FEATURES / f"{split}.npy", own) for split, own in found.items()}
    table = suspects.find(cached, p.seed)
    files.write_csv(TABLE, table)
    plots.save(plots.suspects(table, SUBSET), PICTURE)


stage.run(main)
