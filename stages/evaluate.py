"""8.2-8.3  Measure a saved model on test photos, once (listing 8.13), and validation photos. Argument: its name."""

import sys
from pathlib import Path

from smallset.datasets import lists
from smallset.evaluation import calibration, metrics
from smallset.models import limits, model_file, precision
from smallset.pipeline import files, stage

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
MODELS = Path("models")
METRICS = Path("metrics")


def main() -> None:
    name = sys.argv[1]
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    path = MODELS / f"{name}.keras"
    known, temperature = limits.load(path), model_file.temperature(path)
    predict = metrics.predictor(model_file.load(path), known)
    _, validation, test = splits = lists.splits(LISTS, SUBSET, ("train", "validation", "test"))
    metrics.warn(model_file.seen(path, test.digests))
    chosen, (probability, unlikeness) = predict(validation), predict(test)
    sides = calibration.both(probability, temperature)
    beside = metrics.choosing(validation.labels, chosen.probability) | metrics.called_unlike(unlikeness, known)
    files.write_json(METRICS / f"{name}.json", metrics.measures(test.labels, probability) | beside)
    files.write_csv(METRICS / name / "calibration.csv", calibration.scores(test.labels, sides, temperature))
    files.write_csv(METRICS / name / "reliability.csv", calibration.curves(test.labels, sides))
    files.write_csv(METRICS / name / "classes.csv", metrics.by_class(test, probability))
    files.write_csv(METRICS / name / "predictions.csv", metrics.predictions(test, probability))
    files.write_csv(METRICS / name / "roc.csv", metrics.roc(test, probability))
    files.write_csv(METRICS / name / "sets.csv", metrics.sets(test.labels, probability, known))
    files.write_csv(METRICS / name / "unlike.csv", metrics.oddest(splits, chosen.unlikeness, unlikeness, known))


stage.run(main)
