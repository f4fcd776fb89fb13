"""8.2-8.3  Measure a saved model on test photos, once (listing 8.13), and validation photos. Argument: its name."""

import sys
from pathlib import Path

from smallset.measures import calibration, evaluation
from smallset.networks import limits, runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.storage import files

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
MODELS = Path("models")
METRICS = Path("metrics")


def main() -> None:
    name = sys.argv[1]
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    path = MODELS / f"{name}.keras"
    known, temperature = limits.load(path), saving.temperature(path)
    predict = evaluation.predictor(saving.load(path), known)
    _, validation, test = splits = lists.splits(LISTS, SUBSET, ("train", "validation", "test"))
    evaluation.warn(saving.seen(path, test.digests))
    chosen, (probability, unlikeness) = predict(validation), predict(test)
    sides = calibration.both(probability, temperature)
    beside = evaluation.choosing(validation.labels, chosen.probability) | evaluation.called_unlike(unlikeness, known)
    files.write_json(METRICS / f"{name}.json", evaluation.measures(test.labels, probability) | beside)
    files.write_csv(METRICS / name / "calibration.csv", calibration.scores(test.labels, sides, temperature))
    files.write_csv(METRICS / name / "reliability.csv", calibration.curves(test.labels, sides))
    files.write_csv(METRICS / name / "classes.csv", evaluation.by_class(test, probability))
    files.write_csv(METRICS / name / "predictions.csv", evaluation.predictions(test, probability))
    files.write_csv(METRICS / name / "roc.csv", evaluation.roc(test, probability))
    files.write_csv(METRICS / name / "sets.csv", evaluation.sets(test.labels, probability, known))
    files.write_csv(METRICS / name / "unlike.csv", evaluation.oddest(splits, chosen.unlikeness, unlikeness, known))


stage.run(main)
