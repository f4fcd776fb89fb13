"""8.2-8.3  All models side by side: a table, their curves, and what they get wrong. Arguments: the models' names."""

import json
import sys
from pathlib import Path

import pandas as pd

from smallset import comparison, files, plots, stage

TEST = Path("data/subset/test")
METRICS = Path("metrics")
PLOTS = Path("plots")


def main() -> None:
    names = sys.argv[1:]
    measures = {name: json.loads((METRICS / f"{name}.json").read_text()) for name in names}
    histories = {name: pd.read_csv(METRICS / name / "history.csv") for name in names}
    table = comparison.table(measures, histories)
    files.write_csv(METRICS / "compare.csv", table)
    files.write_text(PLOTS / "compare.md", comparison.markdown(table))
    files.write_csv(METRICS / "curves.csv", comparison.curves(histories))
    plots.save(plots.curves(histories), METRICS / "curves.png")
    with files.whole(PLOTS / "mistakes") as draft:
        for name in names:
            predictions = pd.read_csv(METRICS / name / "predictions.csv")
            plots.save(plots.mistakes(predictions, TEST), draft / f"{name}.png")


stage.run(main)
