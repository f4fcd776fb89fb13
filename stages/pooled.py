"""8.3+   Fine-tune the top and a linear classifier of its pooled features, on larger photos."""

from pathlib import Path

from smallset.frozen import caches
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.training import fitting, pooling, transfer

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
BASE = Path("models/base/larger")
LARGER = Path("data/larger")
HISTORY = Path("metrics/pooled/history.csv")
MODEL = Path("models/pooled.keras")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(LARGER, LARGER, train, validation)
    trunk, top = (saving.load(BASE / f"{part}.keras") for part in ("trunk", "top"))
    head = pooling.head(top, data.train, p.pooled)
    run = fitting.Run(p.seed, stage.backup(MODEL), HISTORY)
    model, temperature = transfer.fit([trunk], [top, head], data, p.pooled, run)
    saving.save(model, MODEL, train.classes, temperature)
    run.backup.remove()


stage.run(main)
