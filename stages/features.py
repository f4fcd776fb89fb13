"""8.3.1  Run the top of the base over the activations: the conv base's features (listing 8.20)."""

import shutil
from pathlib import Path

from smallset.datasets import lists
from smallset.features import caches, extraction
from smallset.models import model_file, precision
from smallset.pipeline import files, stage

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TOP = Path("models/base/top.keras")
ACTIVATIONS = Path("data/activations")
FEATURES = Path("data/features")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    top = model_file.load(TOP)
    found = {split: lists.read(LISTS / f"{split}.csv", SUBSET / split) for split in ("train", "validation")}
    with files.atomic_write(FEATURES / "photos") as plain, files.atomic_write(FEATURES / "views") as bank:
        for kind, split, folder in (
            ("photos", "train", plain),
            ("photos", "validation", plain),
            ("views", "train", bank),
        ):
            cache = caches.read(ACTIVATIONS / kind / f"{split}.npy", found[split])
            extraction.from_cache(top, cache, folder / f"{split}.npy")
        shutil.copyfile(ACTIVATIONS / "photos/pixels.npy", plain / "pixels.npy")


stage.run(main)
