"""What training left epoch by epoch: the epoch that was kept, and curves of several models."""

from collections.abc import Mapping

import pandas as pd

CURVES = {
    "training": {"accuracy": "accuracy", "loss": "loss"},
    "validation": {"val_accuracy": "accuracy", "val_loss": "loss"},
}


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
