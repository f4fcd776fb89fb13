"""8.3.1  Run the trunk of the base over every photo and its augmented views, once for all that follows."""

from pathlib import Path

from smallset.datasets import lists
from smallset.features import caches, extraction
from smallset.images import augmentation
from smallset.models import model_file, precision
from smallset.pipeline import checkpoints, stage

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TRUNK = Path("models/base/trunk.keras")
PHOTOS = Path("data/activations/photos")
VIEWS = Path("data/activations/views")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    trunk, size = model_file.load(TRUNK), p.image.side
    train, validation = lists.splits(LISTS, SUBSET)
    views = [augmentation.view(p.augmentation, size, p.seed, number) for number in range(p.activations.views)]
    checkpoint = stage.checkpoint(PHOTOS)
    with checkpoints.resumable(PHOTOS, checkpoint) as plain, checkpoints.resumable(VIEWS, checkpoint) as bank:
        extraction.from_photos(trunk, validation, {plain / "validation.npy": extraction.PLAIN}, checkpoint)
        wanted = {plain / "train.npy": extraction.PLAIN, bank / "train.npy": views}
        extraction.from_photos(trunk, train, wanted, checkpoint)
        caches.keep_pixels(plain, validation, size)
    checkpoint.remove()


stage.run(main)
