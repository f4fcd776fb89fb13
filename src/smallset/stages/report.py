"""Compare the models, show the results on one page, and describe the best model in a model card."""

from pathlib import Path

import pandas as pd

from smallset.evaluation import comparison, diff
from smallset.pipeline import stage, text
from smallset.reports import report

METRICS, PLOTS = Path("metrics"), Path("plots")
MODELS = ("linear_probe", "fine_tuned")


def main(*other_metrics: str) -> None:
    """Compare the models, and write the report.

    other_metrics: metrics folders of other pipelines with the same test photos; their models are compared as well.
    """
    p = stage.load_params()
    models = comparison.read_models(METRICS, MODELS)
    for folder in map(Path, other_metrics):
        names = pd.read_csv(folder / "compare.csv", dtype={"model": str})["model"]
        models = comparison.read_models(folder, list(names)) | models
    comparison.write_comparison(models, METRICS, PLOTS)
    print(text.lines(diff.record(METRICS)))
    print(report.write(p))
