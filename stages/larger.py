"""8.3+   Run the trunk over larger photos and, for training, their mirror images."""

from pathlib import Path

from smallset.frozen import caches, extraction
from smallset.networks import runtime, saving
from smallset.photos import augmentation, lists
from smallset.pipeline import stage
from smallset.storage import backups

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TRUNK = Path("models/base/larger/trunk.keras")
LARGER = Path("data/larger")


def main() -> None:
    p = stage.load_params().only(["seed", "precision", "larger"])
    runtime.prepare(p.seed, p.precision)
    trunk = saving.load(TRUNK)
    train, validation = lists.splits(LISTS, SUBSET)
    views = [None, augmentation.mirror] if p.larger.mirror else [None]
    backup = stage.backup(LARGER, p, [TRUNK, LISTS / "train.csv", LISTS / "validation.csv"])
    if backups.complete(LARGER, backup):
        return
    with backups.resumable(LARGER, backup) as folder:
        extraction.from_photos(trunk, validation, {folder / "validation.npy": extraction.PLAIN}, backup)
        extraction.from_photos(trunk, train, {folder / "train.npy": views}, backup)
        caches.keep_pixels(folder, validation, trunk.input_shape[1])


stage.run(main)
