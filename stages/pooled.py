"""8.3+   Go on training the base together with the head of `linear`, slowly, on larger photos."""

from pathlib import Path

from smallset.datasets import lists
from smallset.features import caches
from smallset.models import model_file, precision
from smallset.pipeline import files, stage
from smallset.training import depths, fitting

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
LARGER = Path("data/larger")
START = Path("models/linear.keras")
METRICS = Path("metrics/pooled")
MODEL = Path("models/pooled.keras")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(LARGER, LARGER, train, validation)
    start = model_file.load(START)
    parts = [start.get_layer(name) for name in ("trunk", "top", "head")]
    run = fitting.Run(p.seed, stage.checkpoint(MODEL), METRICS / "history.csv")
    tuned = depths.fit(parts, data, p.pooled, run)
    files.write_csv(METRICS / "history.csv", tuned.history)
    files.write_csv(METRICS / "choice.csv", tuned.choice)
    seen = train.digests + validation.digests
    model_file.save(tuned.model, MODEL, train.classes, tuned.temperature, seen, vars(tuned.limits))
    run.checkpoint.remove()


stage.run(main)
