"""8.3+   Run the trunk over larger photos and, for training, their mirror images."""

from pathlib import Path

from smallset import augmentation, extraction, files, photos, runtime, saving, stage

SUBSET = Path("data/subset")
TRUNK = Path("models/base/larger/trunk.keras")
LARGER = Path("data/larger")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    trunk = saving.load(TRUNK)
    train, validation = (photos.find(SUBSET / split) for split in ("train", "validation"))
    mirror = [augmentation.mirror(p.larger.side)] if p.larger.mirror else []
    backup = stage.backup(LARGER)
    with files.whole(LARGER, backup) as folder:
        extraction.from_photos(trunk, validation, {folder / "validation.npy": extraction.PLAIN}, backup)
        extraction.from_photos(trunk, train, {folder / "train.npy": [None, *mirror]}, backup)
    backup.remove()


stage.run(main)
