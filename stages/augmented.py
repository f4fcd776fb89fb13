"""8.3.1  Train a classifier on the features of augmented photos (listings 8.23-8.25)."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.features import activations
from smallset.models import model_file, precision
from smallset.pipeline import stage
from smallset.training import fitting, transfer


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    dataset, output = Dataset.read(), Path("models/augmented.keras")
    data = activations.data(Path("data/features/views"), Path("data/features/photos"), dataset)
    head = transfer.build_head(data, p.augmented)
    backbone = [model_file.open_network(Path(f"models/backbone/{part}.keras")) for part in ("frozen", "last_block")]
    run = fitting.Run(p.seed, stage.checkpoint(output), Path("metrics/augmented/history.csv"))
    network, fitted = transfer.fit(backbone, [head], data, p.augmented, run, p.augmentation)
    fitting.save(network, fitted, dataset, run, output)


stage.run(main)
