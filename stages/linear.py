"""8.3+   Logistic regression on the pooled output of the frozen base, for larger photos."""

from pathlib import Path

from smallset.datasets import lists
from smallset.features import caches
from smallset.models import model_file, precision
from smallset.pipeline import files, stage
from smallset.training import linear_probe

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
BASE = Path("models/base/larger")
LARGER = Path("data/larger")
METRICS = Path("metrics/linear")
MODEL = Path("models/linear.keras")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(LARGER, LARGER, train, validation)
    trunk, top = (model_file.load(BASE / f"{part}.keras") for part in ("trunk", "top"))
    solved = linear_probe.fit(trunk, top, data, p.linear)
    files.write_csv(METRICS / "history.csv", solved.history)
    files.write_csv(METRICS / "choice.csv", solved.choice)
    seen = train.digests + validation.digests
    model_file.save(solved.model, MODEL, train.classes, solved.temperature, seen, vars(solved.limits))


stage.run(main)
