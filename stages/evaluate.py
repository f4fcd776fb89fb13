"""8.2-8.3  Measure a saved model on the test photos, once (listing 8.13). Argument: the model's name."""

import sys
from pathlib import Path

from smallset.measures import calibration, evaluation
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.storage import files

TEST = Path("data/subset/test")
LIST = Path("metrics/subset/test.csv")
MODELS = Path("models")
METRICS = Path("metrics")


def main() -> None:
    name = sys.argv[1]
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    model, test = MODELS / f"{name}.keras", lists.read(LIST, TEST)
    evaluation.warn(saving.seen(model, test.digests))
    probability, temperature = evaluation.predict(saving.load(model), test), saving.temperature(model)
    sides = calibration.both(probability, temperature)
    files.write_json(METRICS / f"{name}.json", evaluation.measures(test.labels, probability))
    files.write_csv(METRICS / name / "calibration.csv", calibration.scores(test.labels, sides, temperature))
    files.write_csv(METRICS / name / "reliability.csv", calibration.curves(test.labels, sides))
    files.write_csv(METRICS / name / "classes.csv", evaluation.by_class(test, probability))
    files.write_csv(METRICS / name / "predictions.csv", evaluation.predictions(test, probability))
    files.write_csv(METRICS / name / "roc.csv", evaluation.roc(test, probability))


stage.run(main)
