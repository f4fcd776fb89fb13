"""8.3    Train a model again with other seeds: what each run gives for the test photos. Argument: the model's name."""

import sys
from functools import partial
from pathlib import Path

import numpy as np

from smallset.frozen import caches
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import params, stage
from smallset.storage import files
from smallset.storage.backups import Backup
from smallset.training import depths, repeats

DATA, METRICS, MODELS = Path("data"), Path("metrics"), Path("models")
SUBSET, LISTS = DATA / "subset", METRICS / "subset"
TESTED = {"classifier": "features", "augmented": "features", "fine_tune": "activations", "pooled": "larger"}


def plan(name: str, p: params.Params, backup: Backup) -> repeats.Plan:
    """What is trained under that name, and on what."""
    match name:
        case "classifier":
            return repeats.of_head(data("features/photos", "features/photos"), p.classifier)
        case "augmented":
            return repeats.of_head(data("features/views", "features/photos"), p.augmented)
        case "fine_tune":
            own, top = data("activations/views", "activations/photos"), saving.load(MODELS / "base/top.keras")
            return repeats.of_fine_tune(top, plan("augmented", p, backup), own, p.fine_tune, backup)
        case _:
            start, depth = saving.load(MODELS / "linear.keras"), depths.chosen(METRICS / "pooled/choice.csv")
            parts = [start.get_layer(part) for part in ("trunk", "top", "head")]
            return repeats.of_pooled(parts, depth, data("larger", "larger"), p.pooled)


def data(views: str, photos: str) -> caches.Data:
    """The caches in two folders of data/."""
    return caches.data(DATA / views, DATA / photos, *lists.splits(LISTS, SUBSET))


def opened(name: str, p: params.Params, backup: Backup) -> tuple[repeats.Plan, caches.Cache]:
    """The plan, and the test photos in the cache that it is for."""
    test = lists.read(LISTS / "test.csv", SUBSET / "test")
    return plan(name, p, backup), caches.read(DATA / f"test_features/{TESTED[name]}.npy", test)


def main() -> None:
    name, p = sys.argv[1], stage.load_params()
    runtime.prepare(p.seed, p.precision)
    output = DATA / f"seeds/{name}.npy"
    backup = stage.backup(output)
    found = repeats.shared(partial(opened, name, p), range(p.seed + 1, p.seed + getattr(p.seeds, name)), backup)
    with files.whole(output) as draft, draft.open("wb") as file:
        np.save(file, found)
    backup.remove()


stage.run(main)
