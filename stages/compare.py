"""8.2-8.3  All models side by side: a table, their curves, and what they get wrong. Arguments: the models' names."""

import json
import sys
from pathlib import Path

import pandas as pd

from smallset import comparison, files, histories, photos, plots, significance, stage

TEST = Path("data/subset/test")
METRICS = Path("metrics")
PLOTS = Path("plots")
TEXT = dict.fromkeys(("file", "actual", "predicted"), str)  # a class may be called 7, or None


def main() -> None:
    p = stage.load_params()
    names = sys.argv[1:]
    measures = {name: json.loads((METRICS / f"{name}.json").read_text()) for name in names}
    training = {name: pd.read_csv(METRICS / name / "history.csv") for name in names}
    predictions = {
        name: pd.read_csv(METRICS / name / "predictions.csv", dtype=TEXT, keep_default_na=False) for name in names
    }
    runs = comparison.read_runs(METRICS, names)
    table, pairs = comparison.table(measures, training, runs), significance.pairs(predictions)
    files.write_csv(METRICS / "compare.csv", table)
    files.write_csv(METRICS / "pairs.csv", pairs)
    files.write_text(PLOTS / "compare.md", comparison.markdown(table, pairs))
    files.write_csv(METRICS / "curves.csv", histories.curves(training))
    plots.save(plots.curves(training, p.compare.smoothing), METRICS / "curves.png")
    classes = photos.find(TEST).classes
    with files.whole(PLOTS / "confusion") as confusion, files.whole(PLOTS / "mistakes") as mistakes:
        for name, rows in predictions.items():
            plots.save(plots.confusion(rows, classes, name), confusion / f"{name}.png")
            plots.save(plots.mistakes(rows, TEST), mistakes / f"{name}.png")


stage.run(main)
