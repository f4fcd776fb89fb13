"""8.3+   Solve `linear` with fewer photos, and tell from its errors whether more would help."""

from pathlib import Path

from smallset.frozen import caches
from smallset.measures import learning_curve
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.storage import files
from smallset.training import pooling

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
LARGER = Path("data/larger")
TOP = Path("models/base/larger/top.keras")
CHOICE = Path("metrics/linear/choice.csv")
TABLE = Path("metrics/learning_curve.csv")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data, top = caches.data(LARGER, LARGER, train, validation), saving.load(TOP)
    head = pooling.unsolved(top.output_shape[1:], len(train.classes))
    rows, known = (pooling.rows(top, head, cache) for cache in (data.train, data.validation))
    wrong = learning_curve.measure(rows, train, known, pooling.chosen(CHOICE), p.linear, p.seed)
    files.write_csv(TABLE, learning_curve.table(wrong, len(train.classes), p.seed))


stage.run(main)
