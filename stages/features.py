"""8.3.1  Run the last block over the activations: the features of the book's conv_base (listing 8.20)."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

import shutil
from pathlib import Path

from smallset.datasets.dataset import SPLITS, Dataset
from smallset.features import activations
from smallset.models import model_file, precision
from smallset.pipeline import files, stage

SOURCE, TARGET = Path("data/activations"), Path("data/features")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    last_block, dataset = model_file.open_network(Path("models/backbone/last_block.keras")), Dataset.read()
    with files.atomic_write(TARGET / "photos") as plain, files.atomic_write(TARGET / "views") as bank:
        for folder, kind, name in [*((plain, "photos", name) for name in SPLITS), (bank, "views", "train")]:
            cache = activations.read(SOURCE / kind / f"{name}.npy", dataset.split(name))
            activations.from_cache(last_block, cache, folder / f"{name}.npy")
        shutil.copyfile(SOURCE / "photos/pixels.npy", plain / "pixels.npy")


stage.run(main)
