"""8.3+   Where the test photos are few, measure `linear` by cross-validation over all photos as well."""

from pathlib import Path

from smallset.datasets import lists
from smallset.evaluation import cross_validation
from smallset.features import caches
from smallset.models import model_file, precision
from smallset.pipeline import files, stage
from smallset.training import linear_probe

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
LARGER = Path("data/larger")
BASE = Path("models/base/larger")
CHOICE = Path("metrics/linear/choice.csv")
TABLE = Path("metrics/cross_validation.csv")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    *seen, test = lists.splits(LISTS, SUBSET, ("train", "validation", "test"))
    base = model_file.load(BASE / "trunk.keras"), model_file.load(BASE / "top.keras")
    cached = [caches.read(LARGER / f"{own.folder.name}.npy", own) for own in seen]
    table = cross_validation.where_needed(base, cached, test, linear_probe.chosen(CHOICE), p.linear, p.seed)
    files.write_csv(TABLE, table)


stage.run(main)
