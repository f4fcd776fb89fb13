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
    with files.whole(ACTIVATIONS / "photos") as plain, files.whole(ACTIVATIONS / "views") as bank:
        extraction.from_photos(trunk, validation, plain / "validation.npy")
        extraction.from_photos_and_views(
            trunk, augment, train, plain / "train.npy", bank / "train.npy", p.activations.views
        )


stage.run(main)
