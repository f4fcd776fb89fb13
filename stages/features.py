"""8.3.1  Run the top of the base over the activations: the conv base's features (listing 8.20)."""

from pathlib import Path

from smallset import caches, extraction, files, photos, runtime, saving, stage

SUBSET = Path("data/subset")
TOP = Path("models/base/top.keras")
ACTIVATIONS = Path("data/activations")
FEATURES = Path("data/features")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    top = saving.load(TOP)
    train, validation = (photos.find(SUBSET / split) for split in ("train", "validation"))
    with files.whole(FEATURES / "photos") as plain, files.whole(FEATURES / "views") as bank:
        for source, found, target in (
            ("photos/train.npy", train, plain / "train.npy"),
            ("photos/validation.npy", validation, plain / "validation.npy"),
            ("views/train.npy", train, bank / "train.npy"),
        ):
            extraction.from_cache(top, caches.read(ACTIVATIONS / source, found), target)


stage.run(main)
