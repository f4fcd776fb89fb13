"""8.2-8.3  Measure a saved model on test photos, once (listing 8.13), and validation photos. Argument: its name."""

import sys
from pathlib import Path

from smallset.measures import calibration, evaluation
from smallset.networks import runtime, saving
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
    predict = evaluation.predictor(saving.load(path))
    test, validation = (lists.read(LISTS / f"{split}.csv", SUBSET / split) for split in ("test", "validation"))
    evaluation.warn(saving.seen(path, test.digests))
    probability, temperature = predict(test), saving.temperature(path)
    sides = calibration.both(probability, temperature)
    chosen_by = evaluation.choosing(validation.labels, predict(validation))
    files.write_json(METRICS / f"{name}.json", evaluation.measures(test.labels, probability) | chosen_by)
    files.write_csv(METRICS / name / "calibration.csv", calibration.scores(test.labels, sides, temperature))
    files.write_csv(METRICS / name / "reliability.csv", calibration.curves(test.labels, sides))
    files.write_csv(METRICS / name / "classes.csv", evaluation.by_class(test, probability))
    files.write_csv(METRICS / name / "predictions.csv", evaluation.predictions(test, probability))
    files.write_csv(METRICS / name / "roc.csv", evaluation.roc(test, probability))


stage.run(main)
