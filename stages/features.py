"""8.3.1  Run the top of the base over the activations: the conv base's features (listing 8.20)."""

import shutil
from pathlib import Path

from smallset.frozen import caches, extraction
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.storage import files

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TOP = Path("models/base/top.keras")
ACTIVATIONS = Path("data/activations")
FEATURES = Path("data/features")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    top = saving.load(TOP)
    found = {split: lists.read(LISTS / f"{split}.csv", SUBSET / split) for split in ("train", "validation")}
    with files.whole(FEATURES / "photos") as plain, files.whole(FEATURES / "views") as bank:
        for kind, split, folder in (
            ("photos", "train", plain),
            ("photos", "validation", plain),
            ("views", "train", bank),
        ):
            cache = caches.read(ACTIVATIONS / kind / f"{split}.npy", found[split])
            extraction.from_cache(top, cache, folder / f"{split}.npy")
        shutil.copyfile(ACTIVATIONS / "photos/pixels.npy", plain / "pixels.npy")


stage.run(main)
