"""8.3  Run VGG16 up to block4_pool over every photo and its augmented views, once for all that follows."""

from pathlib import Path

from smallset import augmentation, extraction, files, photos, runtime, stage, vgg16

SUBSET = Path("data/subset")
WEIGHTS = Path("models/vgg16.weights.h5")
ACTIVATIONS = Path("data/activations")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    trunk, _ = vgg16.split(vgg16.base(WEIGHTS, p.image.size))
    augment = augmentation.build(p.augmentation, p.image.size, p.seed)
    train, validation = (photos.find(SUBSET / split) for split in ("train", "validation"))
    with files.whole(ACTIVATIONS / "photos") as plain, files.whole(ACTIVATIONS / "views") as bank:
        extraction.from_photos(trunk, validation, plain / "validation.npy")
        extraction.from_photos_and_views(
            trunk, augment, train, plain / "train.npy", bank / "train.npy", p.activations.views
        )


stage.run(main)
