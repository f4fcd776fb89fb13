"""8.3+   Run the trunk over larger photos and, for training, their mirror images."""

from pathlib import Path

from smallset.photos import lists
from smallset.pipeline import params, stage
from smallset.storage import backups

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TRUNK = Path("models/base/larger/trunk.keras")
LARGER = Path("data/larger")
ROOMS = ("storage", "photos", "networks", "frozen")


def main() -> None:
    p = stage.load_params().only(["seed", "precision", "larger"])
    data = [TRUNK, LISTS / "train.csv", LISTS / "validation.csv"]
    backup = stage.backup(LARGER, p, [*data, *stage.code(ROOMS)])
    if not backups.complete(LARGER, backup):
        fill(p, backup)


def fill(p: params.Params, backup: backups.Backup) -> None:
    from smallset.frozen import caches, extraction  # with TensorFlow, which takes seconds, mostly for nothing
    from smallset.networks import runtime, saving
    from smallset.photos import augmentation

    runtime.prepare(p.seed, p.precision)
    trunk = saving.load(TRUNK)
    train, validation = lists.splits(LISTS, SUBSET)
    views = [None, augmentation.mirror] if p.larger.mirror else [None]
    with backups.resumable(LARGER, backup) as folder:
        extraction.from_photos(trunk, validation, {folder / "validation.npy": extraction.PLAIN}, backup)
        extraction.from_photos(trunk, train, {folder / "train.npy": views}, backup)
        caches.keep_pixels(folder, validation, trunk.input_shape[1])


stage.run(main)
