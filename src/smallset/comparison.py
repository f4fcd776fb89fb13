"""All models side by side: one table, and one set of curves."""

from collections.abc import Mapping

import pandas as pd

CURVES = {
    "training": {"accuracy": "accuracy", "loss": "loss"},
    "validation": {"val_accuracy": "accuracy", "val_loss": "loss"},
}

LAST = 10  # epochs

PICTURES = """Pictures, in the folder of this pipeline:

- metrics/curves.png: accuracy and loss of all models, by epoch
- plots/augmented.png: a training photo, augmented, where the pipeline does so
- plots/confusion/: each model's confusion matrix
- plots/mistakes/: each model's most confident mistakes
"""


def table(measures: Mapping[str, Mapping[str, float]], histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each model: its test measures, and of its validation accuracies that of the epoch that was kept.

    last_val_accuracy is the mean of the last ten epochs, which a curve in a book ends with.
    """
    rows = []
    for model, history in histories.items():
        best = kept(history)
        last = history.val_accuracy.tail(LAST).mean()
        own = {"val_accuracy": best.val_accuracy, "last_val_accuracy": last, "epoch": int(best.epoch)}
        rows.append({"model": model, **measures[model], **own})
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
