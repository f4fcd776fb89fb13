"""8.2-8.3  Evaluate a saved model on the test photos, once (listing 8.13). Argument: its name."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

import sys
from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.evaluation import metrics
from smallset.models import precision
from smallset.models.classifier import Classifier
from smallset.pipeline import stage


def main() -> None:
    name, p = sys.argv[1], stage.load_params()
    precision.prepare(p.seed, p.precision)
    dataset, classifier = Dataset.read(), Classifier.load(f"models/{name}.keras")
    train, dataset = dataset.train, dataset.take((dataset.table["split"] != "train").to_numpy())
    metrics.warn_if_seen(classifier.has_seen(dataset.test.sha256))
    predictions = classifier.predict_dataset(dataset)
    metrics.write_evaluation(predictions, classifier.reference, classifier.scaling, Path("metrics"), name, train)


stage.run(main)
