"""8.3.1  Run the trunk of the base over every photo and its augmented views, once for all that follows."""

from pathlib import Path

from smallset.frozen import caches, extraction
from smallset.networks import runtime, saving
from smallset.photos import augmentation, lists
from smallset.pipeline import stage
from smallset.storage import backups

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TRUNK = Path("models/base/trunk.keras")
PHOTOS = Path("data/activations/photos")
VIEWS = Path("data/activations/views")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    trunk, size = saving.load(TRUNK), p.image.side
    train, validation = lists.splits(LISTS, SUBSET)
    views = [augmentation.view(p.augmentation, size, p.seed, number) for number in range(p.activations.views)]
    backup = stage.backup(PHOTOS)
    with backups.resumable(PHOTOS, backup) as plain, backups.resumable(VIEWS, backup) as bank:
        extraction.from_photos(trunk, validation, {plain / "validation.npy": extraction.PLAIN}, backup)
        wanted = {plain / "train.npy": extraction.PLAIN, bank / "train.npy": views}
        extraction.from_photos(trunk, train, wanted, backup)
        caches.keep_pixels(plain, validation, size)
    backup.remove()


stage.run(main)
