"""8.3    Find photos whose label may be wrong. Arguments: a cache's folder, and if any the model that goes on."""

import sys
from pathlib import Path

from smallset.frozen import caches
from smallset.measures import suspects
from smallset.networks import saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.showing import plots
from smallset.storage import files

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TABLE = Path("metrics/suspects.csv")
PICTURE = Path("plots/suspects.png")


def main() -> None:
    p = stage.load_params()
    found = {split: lists.read(LISTS / f"{split}.csv", SUBSET / split) for split in ("train", "validation")}
    folder, *top = map(Path, sys.argv[1:])
    cached = {split: caches.read(folder / f"{split}.npy", own) for split, own in found.items()}
    table = suspects.find(cached, p.seed, *map(saving.load, top))
    files.write_csv(TABLE, table)
    plots.save(plots.suspects(table, SUBSET), PICTURE)


stage.run(main)
