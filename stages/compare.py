"""8.2-8.3  All models side by side: a table, their curves, and what they get wrong. Arguments: the models' names."""

import sys
from pathlib import Path

from smallset.datasets import lists
from smallset.evaluation import comparison, histories, significance
from smallset.pipeline import files, stage
from smallset.reports import curves, figures

TEST = Path("data/subset/test")
LIST = Path("metrics/subset/test.csv")
SEEDS = Path("data/seeds")
METRICS = Path("metrics")
PLOTS = Path("plots")


def main() -> None:
    p = stage.load_params()
    found, test = comparison.read(METRICS, SEEDS, sys.argv[1:]), lists.read(LIST, TEST)
    runs = comparison.runs(found.measures, found.others, test.labels, p.seed)
    table = comparison.table(found.measures, found.training, runs)
    pairs, seeds = significance.pairs(found.predictions), significance.over_seeds(runs)
    if found.others:
        files.write_csv(METRICS / "runs.csv", runs)
        files.write_csv(METRICS / "seeds.csv", seeds)
    files.write_csv(METRICS / "compare.csv", table)
    files.write_csv(METRICS / "pairs.csv", pairs)
    files.write_text(PLOTS / "compare.md", comparison.markdown(table, pairs, seeds))
    files.write_csv(METRICS / "curves.csv", histories.curves(found.training))
    figures.save(curves.draw(found.training, p.compare.smoothing), METRICS / "curves.png")
    with files.atomic_write(PLOTS / "confusion") as confusion, files.atomic_write(PLOTS / "mistakes") as mistakes:
        for name, rows in found.predictions.items():
            figures.save(figures.confusion(rows, test.classes, name), confusion / f"{name}.png")
            figures.save(figures.mistakes(rows, TEST), mistakes / f"{name}.png")


stage.run(main)
