"""Line charts as numbers for an inline SVG: its colours come from the page, so that they suit light and dark.

The plot is PLOT px; y grows downward, as in SVG. templates/charts.html draws what is returned here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from smallset.evaluation import histories

PLOT = (226, 140)  # px
TICKS = 5  # at most, on either axis

Range = tuple[float, float]
Values = Sequence[float] | pd.Series


@dataclass(frozen=True)
class Axis:
    """What it is of, its end values, and where its ticks are: px along the axis, and their text."""

    name: str
    ends: Range
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Chart:
    """A title, what it says in words, its axes, and lines and dots: each its kind, a class of the style, and points."""

    title: str
    alt: str
    x: Axis
    y: Axis
    lines: tuple[tuple[str, str], ...]
    dots: tuple[tuple[str, float, float], ...] = ()


def axis(name: str, ends: Range, length: float, *, down: bool = False, whole: bool = False) -> Axis:
    """An axis of `length` px with round ticks; down: it grows against the px; whole: integers alone."""
    values = MaxNLocator(TICKS, steps=[1, 2, 5, 10], integer=whole).tick_values(*ends)
    inside = [value for value in values if ends[0] - 1e-9 <= value <= ends[1] + 1e-9]
    places = _places(inside, ends, length, down=down)
    return Axis(name, ends, tuple((float(at), f"{value:g}") for at, value in zip(places, inside, strict=True)))


def _places(values: Values, ends: Range, length: float, *, down: bool = False) -> np.ndarray:
    share = (np.asarray(values, float) - ends[0]) / max(ends[1] - ends[0], 1e-12)
    return np.round(length * (1 - share if down else share), 1)


def chart(
    title: str, alt: str, x: Axis, y: Axis, lines: Sequence[tuple[str, Values, Values]], dotted: str = ""
) -> Chart:
    """Lines of kind, x, y in the axes' values; those of the kinds named in `dotted` also as dots."""
    drawn, dots = [], []
    for kind, across, up in lines:
        xs, ys = _places(across, x.ends, PLOT[0]), _places(up, y.ends, PLOT[1], down=True)
        drawn.append((kind, " ".join(f"{left:g},{top:g}" for left, top in zip(xs, ys, strict=True))))
        if kind in dotted.split():
            dots += [(kind, float(left), float(top)) for left, top in zip(xs, ys, strict=True)]
    return Chart(title, alt, x, y, tuple(drawn), tuple(dots))


def training(model: str, history: pd.DataFrame) -> list[Chart]:
    """Accuracy and below it loss by epoch, training against validation; a dot at the epoch that was kept.

    The first epoch of a head can lose forty times what the others do: show the others.
    """
    lowest = float(history[["accuracy", "val_accuracy"]].to_numpy().min())
    highest = max(1.1 * float(np.percentile(history[["loss", "val_loss"]], 95)), 1e-6)
    ends = {"accuracy": (float(np.floor(20 * lowest) / 20), 1.0), "loss": (0.0, highest)}
    return [progress(model, measure, history, ends[measure]) for measure in ends]


def progress(model: str, measure: str, history: pd.DataFrame, ends: Range) -> Chart:
    """One measure by epoch; the upper one of two charts has the model's name."""
    kept, known = histories.kept(history), history[f"val_{measure}"]
    best, first, last = kept[f"val_{measure}"], float(history.epoch.min()), float(history.epoch.max())
    x = axis("epoch", (first, max(last, first + 1)), PLOT[0], whole=True)
    y = axis(measure, ends, PLOT[1], down=True)
    alt = (
        f"Validation {measure} of {model}: {known.iloc[0]:.3f} in epoch {first:g}, {known.iloc[-1]:.3f} in epoch "
        f"{last:g}; {best:.3f} in epoch {kept.epoch:g}, which was kept."
    )
    lines: list[tuple[str, Values, Values]] = [
        ("training", history.epoch, history[measure]),
        ("validation", history.epoch, known),
        ("kept", [kept.epoch], [best]),
    ]
    return chart(model if measure == "accuracy" else "", alt, x, y, lines, "kept")


def roc(model: str, curves: pd.DataFrame, area: float) -> Chart:
    """The ROC curve of each class, faint where there are several, above the diagonal of a guess."""
    x, y = axis("false positives", (0, 1), PLOT[0]), axis("true positives", (0, 1), PLOT[1], down=True)
    groups = list(curves.groupby("class", sort=False))
    kind = "validation" if len(groups) == 1 else "one-of-many"
    lines = [(kind, rows.false_positive_rate, rows.true_positive_rate) for _, rows in groups]
    classes = (
        "the class " + str(groups[0][0]) if len(groups) == 1 else f"each of {len(groups)} classes against the rest"
    )
    alt = f"ROC curve of {model} for {classes}; the area under it is {area:.4f}, of a guess 0.5."
    return chart(f"{model}, area {area:.4f}", alt, x, y, [("guess", [0, 1], [0, 1]), *lines])


def learning(table: pd.DataFrame) -> Chart:
    """The error of fewer training photos, the curve through them, and its range for more; photos by their logarithm."""
    measured, places = table[table["draws"] > 0], np.log10(table["photos"])
    ends = (float(places.min()), max(float(places.max()), float(places.min()) + 0.1))
    ticks = [*zip(_places(places, ends, PLOT[0]), table["photos"], strict=True)][::-2]  # every second has room
    x = Axis("training photos", ends, tuple((float(at), f"{photos:,}") for at, photos in ticks))
    y = axis("validation error", (0.0, 1.1 * float(np.nanmax(table[["error", "high"]]))), PLOT[1], down=True)
    lines: list[tuple[str, Values, Values]] = [("after", np.log10(measured["photos"]), measured["error"])]
    if len(measured) < len(table):
        last = table.iloc[-1]
        lines = [("guess", places, table["fitted"]), ("kept", [places.iloc[-1]] * 2, last[["low", "high"]]), *lines]
    alt = "; ".join(f"{row['photos']:,} photos: error {row['error']:.3f}" for row in measured.to_dict("records"))
    return chart("", f"Validation error of linear by training photos. {alt}.", x, y, lines, "after")


def reliability(model: str, bins: pd.DataFrame, errors: Mapping[str, float]) -> Chart:
    """Accuracy by confidence before and after the temperature; on the diagonal a model is as sure as it is right.

    errors: the expected calibration error by "before" and "after".
    """
    low = float(np.floor(10 * bins[["confidence", "accuracy"]].to_numpy().min()) / 10)
    x, y = axis("confidence", (low, 1.0), PLOT[0]), axis("accuracy", (low, 1.0), PLOT[1], down=True)
    lines: list[tuple[str, Values, Values]] = [("guess", [low, 1.0], [low, 1.0])]
    lines += [(str(when), rows.confidence, rows.accuracy) for when, rows in bins.groupby("when", sort=False)]
    words = " and ".join(f"{error:.4f} {when} the temperature" for when, error in errors.items())
    alt = f"Reliability of {model} in bins of equally many photos." + (
        f" Its calibration error is {words}." if words else ""
    )
    return chart(model, alt, x, y, lines, "before after")
