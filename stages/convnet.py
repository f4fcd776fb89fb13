"""8.2.3  Train a small convnet from scratch (listings 8.7-8.11). Argument: the model's name, a key of params.yaml."""

import sys
from functools import partial
from pathlib import Path

from smallset.datasets import lists
from smallset.images import batches
from smallset.models import convnets, model_file, precision
from smallset.pipeline import stage
from smallset.training import fitting

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
MODELS = Path("models")
METRICS = Path("metrics")


def main() -> None:
    name = sys.argv[1]
    p = stage.load_params()
    own = getattr(p, name)
    precision.prepare(p.seed, p.precision)
    train, validation = lists.splits(LISTS, SUBSET)
    model = convnets.convnet(p.image.side, len(train.classes), own)
    run = fitting.Run(p.seed, stage.checkpoint(MODELS / f"{name}.keras"), METRICS / name / "history.csv")
    fitted = fitting.fit(model, partial(batches.load, size=p.image.side), train, validation, own, run)
    seen = train.digests + validation.digests
    model_file.save(model, MODELS / f"{name}.keras", train.classes, fitted.temperature, seen)
    run.checkpoint.remove()


stage.run(main)
