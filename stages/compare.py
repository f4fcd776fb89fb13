"""8.2-8.3  All models side by side: one table, one set of curves. Arguments: the models' names."""

import json
import sys
from pathlib import Path

import pandas as pd

from smallset import comparison, files, plots, stage

METRICS = Path("metrics")
PICTURES = {"curves": "curves.png", "augmented photos": "../plots/augmented.png", "mistakes": "../plots/mistakes"}


def main() -> None:
    names = sys.argv[1:]
    measures = {name: json.loads((METRICS / f"{name}.json").read_text()) for name in names}
    histories = {name: pd.read_csv(METRICS / name / "history.csv") for name in names}
    table = comparison.table(measures, histories)
    files.write_csv(METRICS / "compare.csv", table)
    files.write_text(METRICS / "compare.md", comparison.markdown(table, PICTURES))
    files.write_csv(METRICS / "curves.csv", comparison.curves(histories))
    plots.save(plots.curves(histories), METRICS / "curves.png")


stage.run(main)
