"""8.3.2  Go on training the top of the base together with the head, slowly (listings 8.27-8.28)."""

from pathlib import Path

from smallset.datasets import lists
from smallset.features import caches
from smallset.models import model_file, precision
from smallset.pipeline import stage
from smallset.training import fitting, transfer

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
ACTIVATIONS = Path("data/activations")
START = Path("models/augmented.keras")
HISTORY = Path("metrics/fine_tune/history.csv")
MODEL = Path("models/fine_tune.keras")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    data = caches.data(ACTIVATIONS / "views", ACTIVATIONS / "photos", train, validation)
    start = model_file.load(START)
    trunk, top, head = (start.get_layer(name) for name in ("trunk", "top", "head"))
    run = fitting.Run(p.seed, stage.checkpoint(MODEL), HISTORY)
    model, fitted = transfer.fit_views([trunk], [top, head], data, p.fine_tune, run, p.augmentation)
    seen = train.digests + validation.digests
    model_file.save(model, MODEL, train.classes, fitted.temperature, seen)
    run.checkpoint.remove()


stage.run(main)
