"""8.3.1  Run the trunk of the base over every photo and its augmented views, once for all that follows."""

from pathlib import Path

from smallset import augmentation, extraction, files, photos, runtime, saving, stage

SUBSET = Path("data/subset")
TRUNK = Path("models/base/trunk.keras")
ACTIVATIONS = Path("data/activations")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    trunk = saving.load(TRUNK)
    augment = augmentation.build(p.augmentation, p.image.side, p.seed)
    train, validation = (photos.find(SUBSET / split) for split in ("train", "validation"))
    backup = stage.backup(ACTIVATIONS / "photos")
    with files.whole(ACTIVATIONS / "photos", backup) as plain, files.whole(ACTIVATIONS / "views", backup) as bank:
        views = {plain / "train.npy": extraction.PLAIN, bank / "train.npy": [augment] * p.activations.views}
        extraction.from_photos(trunk, validation, {plain / "validation.npy": extraction.PLAIN}, backup)
        extraction.from_photos(trunk, train, views, backup)
    backup.remove()


stage.run(main)
