"""Evaluate a model on the test photos, once, from its predictions: no network runs."""

from pathlib import Path

import numpy as np
import pandas as pd

from smallset.datasets.dataset import Dataset
from smallset.evaluation import cross_validation, metrics
from smallset.features import store
from smallset.models import calibration, model_file
from smallset.models.predictions import Predictions
from smallset.models.reference import Reference
from smallset.pipeline import stage

METRICS = Path("metrics")


def main(model: str) -> None:
    """Write metrics/MODEL.json and the tables in metrics/MODEL/, with a cross-validation if the test photos are few."""
    p = stage.load_params()
    dataset, path = Dataset.read(), Path(f"models/{model}.keras")
    predictions = Predictions.read(Path(f"data/predictions/{model}.npz"), dataset)
    metadata, more = model_file.read_metadata(path), dict[str, float]()
    scaling = calibration.Scaling(metadata["temperature"], np.array(metadata["bias"] or [0.0] * len(dataset.classes)))
    if model == "linear_probe" and len(dataset.test) < cross_validation.FEW:
        search = pd.read_csv(METRICS / model / "search.csv")
        selected = float(search.loc[search["selected"], "C"].iloc[0])
        features = store.Features.read(store.FILE, dataset)
        more = cross_validation.cross_validate(features, selected, p.linear_probe.class_weight, scaling, p.seed)
    reference = Reference.from_arrays(model_file.read_arrays(path), len(dataset.classes))
    metrics.write_evaluation(predictions, reference, scaling, METRICS, model, **more)
