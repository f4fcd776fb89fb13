"""8.3+   Logistic regression on the pooled output of the frozen base, for larger photos."""

from pathlib import Path

from smallset.frozen import caches
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.storage import files
from smallset.training import pooling

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
BASE = Path("models/base/larger")
LARGER = Path("data/larger")
METRICS = Path("metrics/linear")
MODEL = Path("models/linear.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(LARGER, LARGER, train, validation)
    trunk, top = (saving.load(BASE / f"{part}.keras") for part in ("trunk", "top"))
    solved = pooling.fit(trunk, top, data, p.linear)
    files.write_csv(METRICS / "history.csv", solved.history)
    files.write_csv(METRICS / "choice.csv", solved.choice)
    seen = train.digests + validation.digests
    saving.save(solved.model, MODEL, train.classes, solved.temperature, seen, vars(solved.limits))


stage.run(main)
