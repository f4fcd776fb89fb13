"""8.3.2  Fine-tune the backbone's last block together with the classifier, slowly (listings 8.27-8.28)."""

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
    dataset, output = Dataset.read(), Path("models/fine_tune.keras")
    data = activations.data(Path("data/activations/views"), Path("data/activations/photos"), dataset)
    _, frozen, last_block, head = model_file.open_network(Path("models/augmented.keras")).layers
    run = fitting.Run(p.seed, stage.checkpoint(output), Path("metrics/fine_tune/history.csv"))
    network, fitted = transfer.fit([frozen], [last_block, head], data, p.fine_tune, run, p.augmentation)
    fitting.save(network, fitted, dataset, run, output)


stage.run(main)
