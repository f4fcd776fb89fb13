"""8.3    Train a model again with other seeds: what each run gives for the test photos. Argument: the model's name."""

import sys
from functools import partial
from pathlib import Path

import numpy as np

from smallset.datasets import lists
from smallset.features import caches
from smallset.models import model_file, precision
from smallset.pipeline import files, params, stage
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import depths, seeds

DATA, METRICS, MODELS = Path("data"), Path("metrics"), Path("models")
SUBSET, LISTS = DATA / "subset", METRICS / "subset"
TESTED = {"classifier": "features", "augmented": "features", "fine_tune": "activations", "pooled": "larger"}


def plan(name: str, p: params.Params, checkpoint: Checkpoint) -> seeds.Plan:
    """What is trained under that name, and on what."""
    match name:
        case "classifier":
            return seeds.of_head(data("features/photos", "features/photos"), p.classifier)
        case "augmented":
            return seeds.of_head(data("features/views", "features/photos"), p.augmented)
        case "fine_tune":
            own, top = data("activations/views", "activations/photos"), model_file.load(MODELS / "base/top.keras")
            return seeds.of_fine_tune(top, plan("augmented", p, checkpoint), own, p.fine_tune, checkpoint)
        case _:
            start, depth = model_file.load(MODELS / "linear.keras"), depths.chosen(METRICS / "pooled/choice.csv")
            parts = [start.get_layer(part) for part in ("trunk", "top", "head")]
            return seeds.of_pooled(parts, depth, data("larger", "larger"), p.pooled)


def data(views: str, photos: str) -> caches.Data:
    """The caches in two folders of data/."""
    return caches.data(DATA / views, DATA / photos, *lists.splits(LISTS, SUBSET))


def opened(name: str, p: params.Params, checkpoint: Checkpoint) -> tuple[seeds.Plan, caches.Cache]:
    """The plan, and the test photos in the cache that it is for."""
    test = lists.read(LISTS / "test.csv", SUBSET / "test")
    return plan(name, p, checkpoint), caches.read(DATA / f"test_features/{TESTED[name]}.npy", test)


def main() -> None:
    name, p = sys.argv[1], stage.load_params()
    precision.prepare(p.seed, p.precision)
    output = DATA / f"seeds/{name}.npy"
    checkpoint = stage.checkpoint(output)
    found = seeds.shared(partial(opened, name, p), range(p.seed + 1, p.seed + getattr(p.seeds, name)), checkpoint)
    with files.atomic_write(output) as draft, draft.open("wb") as file:
        np.save(file, found)
    checkpoint.remove()


stage.run(main)
