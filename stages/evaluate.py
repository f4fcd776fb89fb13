"""8.2-8.3  Measure a saved model on the test photos, once (listing 8.13). Argument: the model's name."""

import sys
from pathlib import Path

from smallset import evaluation, files, photos, saving, stage

TEST = Path("data/subset/test")
MODELS = Path("models")
METRICS = Path("metrics")


def main() -> None:
    name = sys.argv[1]
    test = photos.find(TEST)
    probability = evaluation.predict(saving.load(MODELS / f"{name}.keras"), test)
    files.write_json(METRICS / f"{name}.json", evaluation.measures(test.labels, probability))
    files.write_csv(METRICS / name / "classes.csv", evaluation.by_class(test, probability))
    files.write_csv(METRICS / name / "predictions.csv", evaluation.predictions(test, probability))
    files.write_csv(METRICS / name / "roc.csv", evaluation.roc(test, probability))


stage.run(main)
