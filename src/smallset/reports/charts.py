"""Line charts for an inline SVG. The page sets the colors, so that they suit a light and a dark background.

The plot area has PLOT px. As in SVG, y grows downward. templates/charts.html draws these charts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from smallset.evaluation import comparison

PLOT = (226, 140)  # px
TICKS = 5  # at most, on either axis

Range = tuple[float, float]
Values = Sequence[float] | pd.Series
Line = tuple[str, Values, Values]  # kind, x, y in the units of the axes


@dataclass(frozen=True)
class Axis:
    """An axis with its limits, and the px and the text of each tick."""

    name: str
    limits: Range
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Chart:
    """Lines and dots in px; `kind` is a class of the style sheet."""

    title: str
    alt: str  # the content in words
    x: Axis
    y: Axis
    lines: tuple[tuple[str, str], ...]  # kind, points
    dots: tuple[tuple[str, float, float], ...]  # kind, x, y


def make_axis(name: str, limits: Range, *, vertical: bool = False, integers: bool = False) -> Axis:
    """An axis with round ticks."""
    values = MaxNLocator(TICKS, steps=[1, 2, 5, 10], integer=integers).tick_values(*limits)
    inside = [value for value in values if limits[0] - 1e-9 <= value <= limits[1] + 1e-9]
    positions = _to_px(inside, limits, PLOT[vertical], downward=vertical)
    return Axis(name, limits, tuple((float(px), f"{value:g}") for px, value in zip(positions, inside, strict=True)))


def make_chart(title: str, alt: str, x: Axis, y: Axis, lines: Sequence[Line], dotted: Sequence[str] = ()) -> Chart:
    """Convert lines to px; lines of the kinds in `dotted` get dots as well."""
    points, dots = [], []
    for kind, x_values, y_values in lines:
        across, down = _to_px(x_values, x.limits, PLOT[0]), _to_px(y_values, y.limits, PLOT[1], downward=True)
        pairs = [(float(left), float(top)) for left, top in zip(across, down, strict=True)]
        points.append((kind, " ".join(f"{left:g},{top:g}" for left, top in pairs)))
        dots += [(kind, *pair) for pair in pairs if kind in dotted]
    return Chart(title, alt, x, y, tuple(points), tuple(dots))


def plot_training(model: str, history: pd.DataFrame) -> list[Chart]:
    """Accuracy and loss by epoch, training against validation, with a dot at the epoch that was kept.

    The loss axis ends at the 95th percentile: the first epoch of a head can have 40 times the loss of the others.
    """
    lowest = float(history[["accuracy", "val_accuracy"]].to_numpy().min())
    highest = max(1.1 * float(np.percentile(history[["loss", "val_loss"]], 95)), 1e-6)
    limits = {"accuracy": (float(np.floor(20 * lowest) / 20), 1.0), "loss": (0.0, highest)}
    return [_plot_metric(model, metric, history, limits[metric]) for metric in limits]


def plot_roc(model: str, curves: pd.DataFrame, auc: float) -> Chart:
    """The ROC curve of each class, above the diagonal of random guesses."""
    x, y = make_axis("false positive rate", (0, 1)), make_axis("true positive rate", (0, 1), vertical=True)
    groups = list(curves.groupby("class", sort=False))
    kind = "validation" if len(groups) == 1 else "one-of-many"
    lines: list[Line] = [(kind, rows["false_positive_rate"], rows["true_positive_rate"]) for _, rows in groups]
    classes = f"the class {groups[0][0]!s}" if len(groups) == 1 else f"each of {len(groups)} classes against the rest"
    alt = f"ROC curve of {model} for {classes}. The area under it is {auc:.4f}; random guesses have 0.5."
    return make_chart(f"{model}, AUC {auc:.4f}", alt, x, y, [("guess", [0, 1], [0, 1]), *lines])


def plot_learning_curve(table: pd.DataFrame) -> Chart:
    """The validation error by the number of training photos (on a logarithmic axis), and its extrapolation."""
    measured, positions = table[table["draws"] > 0], np.log10(table["photos"])
    limits = (float(positions.min()), max(float(positions.max()), float(positions.min()) + 0.1))
    ticks = [*zip(_to_px(positions, limits, PLOT[0]), table["photos"], strict=True)][::-2]  # there is no space for all
    x = Axis("training photos", limits, tuple((float(px), f"{photos:,}") for px, photos in ticks))
    y = make_axis("validation error", (0.0, 1.1 * float(np.nanmax(table[["error", "high"]]))), vertical=True)
    lines: list[Line] = [("after", np.log10(measured["photos"]), measured["error"])]
    if len(measured) < len(table):
        last = table.iloc[-1]
        lines = [
            ("guess", positions, table["fitted"]),
            ("kept", [positions.iloc[-1]] * 2, last[["low", "high"]]),
            *lines,
        ]
    errors = "; ".join(f"{row['photos']:,} photos: error {row['error']:.3f}" for row in measured.to_dict("records"))
    alt = f"Validation error of the linear probe by the number of training photos. {errors}."
    return make_chart("", alt, x, y, lines, ["after"])


def plot_reliability(model: str, bins: pd.DataFrame, errors: Mapping[str, float]) -> Chart:
    """Accuracy by confidence, before and after temperature scaling; a calibrated model is on the diagonal.

    errors: the expected calibration error for "before" and "after".
    """
    low = float(np.floor(10 * bins[["confidence", "accuracy"]].to_numpy().min()) / 10)
    x, y = make_axis("confidence", (low, 1.0)), make_axis("accuracy", (low, 1.0), vertical=True)
    lines: list[Line] = [("guess", [low, 1.0], [low, 1.0])]
    lines += [(str(when), rows["confidence"], rows["accuracy"]) for when, rows in bins.groupby("when", sort=False)]
    words = " and ".join(f"{error:.4f} {when} temperature scaling" for when, error in errors.items())
    alt = f"Reliability of {model} in bins of equally many photos."
    alt += f" The expected calibration error is {words}." if words else ""
    return make_chart(model, alt, x, y, lines, ["before", "after"])


def _plot_metric(model: str, metric: str, history: pd.DataFrame, limits: Range) -> Chart:
    """One metric by epoch. The accuracy is above the loss and has the title."""
    kept, validation = comparison.kept_epoch(history), history[f"val_{metric}"]
    value, first, last = kept[f"val_{metric}"], float(history["epoch"].min()), float(history["epoch"].max())
    alt = (
        f"Validation {metric} of {model}: {validation.iloc[0]:.3f} in epoch {first:g}, {validation.iloc[-1]:.3f} in "
        f"epoch {last:g}; {value:.3f} in epoch {kept['epoch']:g}, which was kept."
    )
    lines: list[Line] = [
        ("training", history["epoch"], history[metric]),
        ("validation", history["epoch"], validation),
        ("kept", [kept["epoch"]], [value]),
    ]
    x, y = make_axis("epoch", (first, max(last, first + 1)), integers=True), make_axis(metric, limits, vertical=True)
    return make_chart(model if metric == "accuracy" else "", alt, x, y, lines, ["kept"])


def _to_px(values: Values, limits: Range, length: float, *, downward: bool = False) -> np.ndarray:
    share = (np.asarray(values, float) - limits[0]) / max(limits[1] - limits[0], 1e-12)
    return np.round(length * (1 - share if downward else share), 1)
