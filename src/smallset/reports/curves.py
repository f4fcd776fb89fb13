"""Curves of training, as a picture. A module of its own: the other figures need no measures."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from smallset.evaluation import histories


def draw(training: Mapping[str, pd.DataFrame], smoothing: float = 0.0) -> Figure:
    """Accuracy above loss for each model, training dashed against validation; a dot marks the epoch that was kept.

    smoothing: what each point keeps of the one before, 0..1 (Chollet 2017, listing 5-25); the plain curves stay, faint.
    """
    figure = Figure((3.2 * len(training), 5.4), layout="constrained")
    axes = figure.subplots(2, len(training), squeeze=False, sharex="col")
    for column, (model, history) in zip(axes.T, training.items(), strict=True):
        kept = histories.kept(history)
        for ax, measure in zip(column, ("accuracy", "loss"), strict=True):
            curve(ax, history, measure, smoothing, "tab:orange", "--", "training")
            curve(ax, history, f"val_{measure}", smoothing, "tab:blue", "-", "validation")
            ax.plot(kept.epoch, kept[f"val_{measure}"], "o", color="tab:blue", label="kept")
            ax.grid(alpha=0.3)
        # The first epoch of a head can lose forty times what the others do: show the others.
        column[1].set(xlabel="epoch", ylim=(0, 1.1 * np.percentile(history[["loss", "val_loss"]], 95)))
        column[1].xaxis.set_major_locator(MaxNLocator(integer=True))
        column[0].set_title(model)
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("loss")
    axes[0, 0].legend()
    return figure


def curve(ax: Axes, history: pd.DataFrame, measure: str, smoothing: float, color: str, line: str, label: str) -> None:
    """One measure by epoch, as an exponential moving average that begins with the first point."""
    values = history[measure]
    if smoothing:
        ax.plot(history.epoch, values, line, color=color, linewidth=0.8, alpha=0.35)
    ax.plot(history.epoch, values.ewm(alpha=1 - smoothing, adjust=False).mean(), line, color=color, label=label)
