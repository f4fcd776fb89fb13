"""8.3.1  Train a classifier on the features of the photos as they are (listing 8.21)."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.features import activations
from smallset.models import convnets, model_file, precision
from smallset.models.classifier import Classifier
from smallset.pipeline import stage
from smallset.training import fitting, transfer


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    dataset, output = Dataset.read(), Path("models/classifier.keras")
    data = activations.data(Path("data/features/photos"), Path("data/features/photos"), dataset)
    shape = data.train.views.shape[2:]
    head = convnets.book_head(shape, len(dataset.classes), p.classifier.dense_units, p.classifier.dropout)
    backbone = [model_file.open_network(Path(f"models/backbone/{part}.keras")) for part in ("frozen", "last_block")]
    run = fitting.Run(p.seed, stage.checkpoint(output), Path("metrics/classifier/history.csv"))
    network, fitted = transfer.fit(backbone, [head], data, p.classifier, run)
    seen = frozenset(dataset.train.sha256 + dataset.validation.sha256)
    Classifier(network, dataset.classes, fitted.temperature, seen).save(output)
    run.checkpoint.remove()


stage.run(main)
