"""8.3+   Solve `linear` with fewer photos, and tell from its errors whether more would help."""

from pathlib import Path

from smallset.datasets import lists
from smallset.evaluation import learning_curve
from smallset.features import caches
from smallset.models import model_file, precision
from smallset.pipeline import files, stage
from smallset.training import linear_probe

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
LARGER = Path("data/larger")
TOP = Path("models/base/larger/top.keras")
CHOICE = Path("metrics/linear/choice.csv")
TABLE = Path("metrics/learning_curve.csv")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data, top = caches.data(LARGER, LARGER, train, validation), model_file.load(TOP)
    head = linear_probe.unsolved(top.output_shape[1:], len(train.classes))
    rows, known = (linear_probe.rows(top, head, cache) for cache in (data.train, data.validation))
    wrong = learning_curve.measure(rows, train, known, linear_probe.chosen(CHOICE), p.linear, p.seed)
    files.write_csv(TABLE, learning_curve.table(wrong, len(train.classes), p.seed))


stage.run(main)
