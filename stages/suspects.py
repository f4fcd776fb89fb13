"""8.3    Find photos whose label may be wrong. Arguments: a cache's folder, and if any the model that goes on."""

import sys
from pathlib import Path

from smallset.datasets import lists
from smallset.evaluation import label_issues
from smallset.features import caches
from smallset.models import model_file
from smallset.pipeline import files, stage
from smallset.reports import figures

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TABLE = Path("metrics/suspects.csv")
PICTURE = Path("plots/suspects.png")


def main() -> None:
    p = stage.load_params()
    found = {split: lists.read(LISTS / f"{split}.csv", SUBSET / split) for split in ("train", "validation")}
    folder, *top = map(Path, sys.argv[1:])
    cached = {split: caches.read(folder / f"{split}.npy", own) for split, own in found.items()}
    table = label_issues.find(cached, p.seed, *map(model_file.load, top))
    files.write_csv(TABLE, table)
    figures.save(figures.suspects(table, SUBSET), PICTURE)


stage.run(main)
