"""Line charts for an inline SVG. The page sets the colors, so that they suit a light and a dark background.

The plot area has PLOT px. As in SVG, y grows downward. templates/charts.html draws these charts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from smallset.evaluation import comparison

PLOT = (226, 140)  # px
TICKS = 5  # at most, on either axis

Range = tuple[float, float]
Line = tuple[str, Sequence[float] | pd.Series, Sequence[float] | pd.Series]  # kind, x, y in the units of the axes


class Axis(NamedTuple):
    """An axis with its limits."""

    name: str
    limits: Range
    vertical: bool = False
    labels: Mapping[float, str] | None = None  # of the ticks; None for those of round numbers
    integers: bool = False  # whether the round numbers are integers

    def to_px(self, values: Iterable[float]) -> list[float]:
        """The positions of values in the plot area."""
        low, high = self.limits
        share = (np.array([*values], float) - low) / max(high - low, 1e-12)
        return np.round(PLOT[self.vertical] * (1 - share if self.vertical else share), 1).tolist()

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The px and the text of each tick."""
        locator = MaxNLocator(TICKS, steps=[1, 2, 5, 10], integer=self.integers)
        inside = [v for v in locator.tick_values(*self.limits) if self.limits[0] - 1e-9 <= v <= self.limits[1] + 1e-9]
        labels = self.labels or {value: f"{value:g}" for value in inside}
        return [*zip(self.to_px(labels), labels.values(), strict=True)]


class Chart(NamedTuple):
    """Lines between two axes; the kind of a line is a class of the style sheet."""

    x: Axis
    y: Axis
    data: Sequence[Line]
    dotted: Sequence[str] = ()  # kinds of lines that have dots as well

    @property
    def lines(self) -> list[tuple[str, list[tuple[float, float]]]]:
        """The kind of each line, and the px of its points."""
        return [(kind, [*zip(self.x.to_px(x), self.y.to_px(y), strict=True)]) for kind, x, y in self.data]


def plot_training(history: pd.DataFrame) -> dict[str, Chart]:
    """Accuracy and loss by epoch, training against validation, with a dot at the epoch that was kept.

    The loss axis ends at the 95th percentile: the first epoch of a head can have 40 times the loss of the others.
    """
    lowest = float(history[["accuracy", "val_accuracy"]].to_numpy().min())
    highest = max(1.1 * float(np.percentile(history[["loss", "val_loss"]], 95)), 1e-6)
    kept, epoch, charts = comparison.kept_epoch(history), history["epoch"], {}
    x = Axis("epoch", (float(epoch.min()), max(float(epoch.max()), float(epoch.min()) + 1)), integers=True)
    for metric, limits in {"accuracy": (float(np.floor(20 * lowest) / 20), 1.0), "loss": (0.0, highest)}.items():
        lines: list[Line] = [("training", epoch, history[metric]), ("validation", epoch, history[f"val_{metric}"])]
        lines.append(("kept", [kept["epoch"]], [kept[f"val_{metric}"]]))
        charts[metric] = Chart(x, Axis(metric, limits, vertical=True), lines, ["kept"])
    return charts


def plot_roc(curves: pd.DataFrame) -> Chart:
    """The ROC curve of each class, above the diagonal of random guesses."""
    x, y = Axis("false positive rate", (0, 1)), Axis("true positive rate", (0, 1), vertical=True)
    groups = [rows for _, rows in curves.groupby("class", sort=False)]
    kind = "validation" if len(groups) == 1 else "one-of-many"
    lines: list[Line] = [(kind, rows["false_positive_rate"], rows["true_positive_rate"]) for rows in groups]
    return Chart(x, y, [("guess", [0, 1], [0, 1]), *lines])


def plot_learning_curve(table: pd.DataFrame) -> Chart:
    """The validation error by the number of training photos (on a logarithmic axis), and its extrapolation."""
    measured, positions = table[table["draws"] > 0], np.log10(table["photos"])
    limits = (float(positions.min()), max(float(positions.max()), float(positions.min()) + 0.1))
    labels = {position: f"{photos:,}" for position, photos in zip(positions, table["photos"], strict=True)}
    x = Axis("training photos", limits, labels=dict([*labels.items()][::-2]))  # there is no space for all
    y = Axis("validation error", (0.0, 1.1 * float(np.nanmax(table[["error", "high"]]))), vertical=True)
    lines: list[Line] = [("after", np.log10(measured["photos"]), measured["error"])]
    if len(measured) < len(table):
        interval: Line = ("kept", [positions.iloc[-1]] * 2, table[["low", "high"]].iloc[-1])
        lines = [("guess", positions, table["fitted"]), interval, *lines]
    return Chart(x, y, lines, ["after"])


def plot_reliability(bins: pd.DataFrame) -> Chart:
    """Accuracy by confidence, before and after temperature scaling; a calibrated model is on the diagonal."""
    low = float(np.floor(10 * bins[["confidence", "accuracy"]].to_numpy().min()) / 10)
    x, y = Axis("confidence", (low, 1.0)), Axis("accuracy", (low, 1.0), vertical=True)
    lines: list[Line] = [("guess", [low, 1.0], [low, 1.0])]
    lines += [(str(when), rows["confidence"], rows["accuracy"]) for when, rows in bins.groupby("when", sort=False)]
    return Chart(x, y, lines, ["before", "after"])
