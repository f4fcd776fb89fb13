"""8.3+   Where the test photos are few, measure `linear` by cross-validation over all photos as well."""

from pathlib import Path

from smallset.frozen import caches
from smallset.measures import cross_validation
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.storage import files
from smallset.training import pooling

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
LARGER = Path("data/larger")
BASE = Path("models/base/larger")
CHOICE = Path("metrics/linear/choice.csv")
TABLE = Path("metrics/cross_validation.csv")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    *seen, test = lists.splits(LISTS, SUBSET, ("train", "validation", "test"))
    base = saving.load(BASE / "trunk.keras"), saving.load(BASE / "top.keras")
    cached = [caches.read(LARGER / f"{own.folder.name}.npy", own) for own in seen]
    table = cross_validation.where_needed(base, cached, test, pooling.chosen(CHOICE), p.linear, p.seed)
    files.write_csv(TABLE, table)


stage.run(main)
