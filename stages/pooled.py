"""8.3+   Go on training the top of the base together with the head of `linear`, slowly, on larger photos."""

from pathlib import Path

from smallset.frozen import caches
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.training import fitting, transfer

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
LARGER = Path("data/larger")
START = Path("models/linear.keras")
HISTORY = Path("metrics/pooled/history.csv")
MODEL = Path("models/pooled.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(LARGER, LARGER, train, validation)
    start = saving.load(START)
    trunk, top, head = (start.get_layer(name) for name in ("trunk", "top", "head"))
    run = fitting.Run(p.seed, stage.backup(MODEL), HISTORY)
    model, temperature = transfer.fit([trunk], [top, head], data, p.pooled, run)
    saving.save(model, MODEL, train.classes, temperature, train.digests + validation.digests)
    run.backup.remove()


stage.run(main)
