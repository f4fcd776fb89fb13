"""All models side by side, as a table and in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from smallset import histories, significance

LAST = 10  # epochs

TITLE = """One evaluation of each saved model on the test set; low and high bound the accuracy with 95 % confidence.
Where a model was trained with several seeds, mean and sd are those of their accuracies:"""
PAIRS = "Differences between models on the same photos (McNemar's exact test):"

PICTURES = """Pictures, in the folder of this pipeline:

- metrics/curves.png: accuracy and loss of all models, by epoch
- plots/augmented.png: a training photo, augmented, where the pipeline does so
- plots/confusion/: each model's confusion matrix
- plots/mistakes/: each model's most confident mistakes
"""


def read_runs(metrics: Path, names: Sequence[str]) -> pd.DataFrame:
    """The tables of repeats.table, one below the other, with the column model; no row for a model that has none."""
    paths = {name: metrics / name / "runs.csv" for name in names}
    tables = [pd.read_csv(path).assign(model=name) for name, path in paths.items() if path.is_file()]
    return pd.concat(tables) if tables else pd.DataFrame(columns=["model", "seed", "accuracy"])


def table(
    measures: Mapping[str, Mapping[str, float]], training: Mapping[str, pd.DataFrame], runs: pd.DataFrame
) -> pd.DataFrame:
    """A row for each model: its test measures, and of its validation accuracies that of the epoch that was kept.

    low and high are the accuracy's 95 % interval; mean and sd the accuracies' of other seeds; last_val_accuracy is the
    mean of the last ten epochs, which a curve in a book ends with.
    """
    spread = runs.groupby("model").accuracy.agg(["mean", "std", "size"])
    rows = []
    for model, history in training.items():
        best = histories.kept(history)
        last = history.val_accuracy.tail(LAST).mean()
        own = {"val_accuracy": best.val_accuracy, "last_val_accuracy": last, "epoch": int(best.epoch)}
        low, high = significance.interval(measures[model]["accuracy"], int(measures[model]["n"]))
        accuracy = {"accuracy": measures[model]["accuracy"], "low": low, "high": high}
        rows.append({"model": model, **accuracy, **measures[model], **own})
    columns = {"mean": "mean", "std": "sd", "size": "seeds"}
    return pd.DataFrame(rows).join(spread.rename(columns=columns), on="model").astype({"seeds": "Int64"})


def markdown(comparison: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The table for people, what of its differences is real, and where the pictures lie."""
    head = "| " + " | ".join(name.replace("_", " ") for name in comparison.columns) + " |"
    rule = "|---" + "|---:" * (len(comparison.columns) - 1) + "|"
    known = comparison.astype(object).where(comparison.notna(), "")  # no mean and deviation without seeds
    rows = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in known.itertuples(index=False)]
    words = [f"- {pair.words}" for pair in pairs.itertuples()]
    return "\n".join([TITLE, "", head, rule, *rows, "", PAIRS, "", *words, "", PICTURES])


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
