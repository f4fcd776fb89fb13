"""Fine-tune the backbone together with the linear probe, and keep the better one of the two."""

from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.models import precision
from smallset.models.classifier import Classifier
from smallset.models.predictions import Predictions
from smallset.pipeline import files, stage
from smallset.training import fitting
from smallset.training.fine_tune import fine_tune

METRICS = Path("metrics/fine_tuned")
OUTPUT = Path("models/fine_tuned.keras")


def main() -> None:
    """Write the classifier, its predictions for all photos, the history, and the comparison with the probe."""
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    dataset, probe = Dataset.read(), Classifier.load("models/linear_probe.keras")
    predictions = Predictions.read(Path("data/predictions/linear_probe.npz"), dataset)
    run = fitting.Run(p.seed, stage.checkpoint(OUTPUT), METRICS / "history.csv")
    tuned = fine_tune(probe, dataset, p.fine_tune, p.augmentation, run, predictions, p.class_prior)
    tuned.classifier.save(OUTPUT)
    tuned.predictions.write(Path("data/predictions/fine_tuned.npz"))
    files.write_csv(METRICS / "search.csv", tuned.search)
    run.checkpoint.remove()
