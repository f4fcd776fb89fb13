"""8.3    Train a model again with other seeds: their predictions for the test photos. Argument: the model's name."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

import sys
from pathlib import Path

import numpy as np

from smallset.datasets.dataset import Dataset
from smallset.features import activations
from smallset.models import model_file, precision
from smallset.pipeline import files, params, stage
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import seeds

FEATURES, ACTIVATIONS = Path("data/features"), Path("data/activations")


def plan(name: str, dataset: Dataset, p: params.Params, checkpoint: Checkpoint) -> seeds.Plan:
    if name == "classifier":
        return seeds.head_plan(activations.data(FEATURES / "photos", FEATURES / "photos", dataset), p.classifier)
    if name == "augmented":
        return seeds.head_plan(activations.data(FEATURES / "views", FEATURES / "photos", dataset), p.augmented)
    data = activations.data(ACTIVATIONS / "views", ACTIVATIONS / "photos", dataset)
    last_block = model_file.open_network(Path("models/backbone/last_block.keras"))
    return seeds.fine_tune_plan(last_block, plan("augmented", dataset, p, checkpoint), data, p.fine_tune, checkpoint)


def main() -> None:
    name, p = sys.argv[1], stage.load_params()
    precision.prepare(p.seed, p.precision)
    dataset, output = Dataset.read(), Path(f"data/seeds/{name}.npy")
    checkpoint = stage.checkpoint(output)
    folder = ACTIVATIONS if name == "fine_tune" else FEATURES
    test = activations.read(folder / "photos/test.npy", dataset.test)
    others = range(p.seed + 1, p.seed + getattr(p.seeds, name))
    runs = seeds.repeat(plan(name, dataset, p, checkpoint), test, others, checkpoint)
    with files.atomic_write(output) as draft, draft.open("wb") as file:
        np.save(file, runs)
    checkpoint.remove()


stage.run(main)
