"""All models side by side: one table, and one set of curves."""

from collections.abc import Mapping

import pandas as pd

CURVES = {
    "training": {"accuracy": "accuracy", "loss": "loss"},
    "validation": {"val_accuracy": "accuracy", "val_loss": "loss"},
}

PICTURES = """Pictures, in the folder of this pipeline:

- metrics/curves.png: accuracy and loss of all models, by epoch
- plots/augmented.png: a training photo, augmented
- plots/confusion/: each model's confusion matrix
- plots/mistakes/: each model's most confident mistakes
"""


def table(measures: Mapping[str, Mapping[str, float]], histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each model: its test measures, and the epoch that was kept."""
    best = {model: kept(history) for model, history in histories.items()}
    rows = [
        {"model": model, **measures[model], "val_accuracy": best[model].val_accuracy, "epoch": int(best[model].epoch)}
        for model in measures
    ]
    return pd.DataFrame(rows)


def kept(history: pd.DataFrame) -> pd.Series:
    """The row of the epoch whose weights were kept: the one with the lowest validation loss."""
    return history.iloc[int(history.val_loss.to_numpy().argmin())]


def curves(histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tidy histories, for one picture of all models: model, split, epoch, accuracy, loss."""
    parts = [
        history[["epoch", *names]].rename(columns=names).assign(model=model, split=split)
        for model, history in histories.items()
        for split, names in CURVES.items()
    ]
    return pd.concat(parts)[["model", "split", "epoch", "accuracy", "loss"]]


def markdown(comparison: pd.DataFrame) -> str:
    """The table for people, and where the pictures lie."""
    head = "| " + " | ".join(name.replace("_", " ") for name in comparison.columns) + " |"
    rule = "|---" + "|---:" * (len(comparison.columns) - 1) + "|"
    rows = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in comparison.itertuples(index=False)]
    return "\n".join(["One evaluation of each saved model on the test set:", "", head, rule, *rows, "", PICTURES])


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
