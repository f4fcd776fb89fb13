"""8.2-8.3  Compare all models: tables, curves, and which differences are real. Arguments: their names."""

import sys
from pathlib import Path

import numpy as np

from smallset.datasets.dataset import Dataset
from smallset.evaluation import comparison
from smallset.pipeline import files, stage

METRICS = Path("metrics")


def main() -> None:
    names, p = sys.argv[1:], stage.load_params()
    models = comparison.read_models(METRICS, names)
    paths = {name: Path(f"data/seeds/{name}.npy") for name in names}
    seeds = {name: np.load(path, allow_pickle=False) for name, path in paths.items() if path.is_file()}
    runs = comparison.measure_runs(models, seeds, Dataset.read().test.labels, p.seed) if seeds else comparison.NO_RUNS
    comparison.write_comparison(models, METRICS, Path("plots"), runs)
    files.write_csv(METRICS / "curves.csv", comparison.tidy_curves(models))


stage.run(main)
