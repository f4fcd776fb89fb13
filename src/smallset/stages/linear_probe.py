"""Fit the linear probe to the features, and estimate from smaller sets whether more photos would help."""

from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.evaluation.learning_curve import learning_curve
from smallset.features import store
from smallset.features.store import Features
from smallset.models import model_file, precision
from smallset.models.predictions import Predictions
from smallset.pipeline import files, stage
from smallset.training.linear_probe import LinearProbe

METRICS = Path("metrics/linear_probe")


def main() -> None:
    """Write the classifier, its predictions for all photos, the search for C, and the learning curve."""
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    dataset = Dataset.read()
    features = Features.read(store.FILE, dataset)
    probe = LinearProbe(**dict(p.linear_probe), class_prior=p.class_prior).fit(features)
    classifier = probe.to_classifier(features, model_file.open_network(Path("models/backbone.keras")))
    scores = classifier.reference.ood_score(features.values)  # type: ignore[union-attr]  # to_classifier fits it
    predictions = Predictions(dataset, probe.predict_proba(features.values), scores)
    classifier.save("models/linear_probe.keras")
    predictions.write(Path("data/predictions/linear_probe.npz"))
    files.write_csv(METRICS / "search.csv", probe.search_)
    table = learning_curve(features, probe.C_, p.linear_probe.class_weight, p.seed)
    files.write_csv(METRICS / "learning_curve.csv", table)
