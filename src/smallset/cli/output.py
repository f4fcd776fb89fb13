"""Predictions as text: a table for people, CSV and JSON lines for programs."""

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from smallset.models.classifier import Prediction
from smallset.pipeline.text import visible

Format = Literal["table", "csv", "jsonl"]


@dataclass(frozen=True)
class Formatter:
    """Writes predictions of a classifier in one format.

    Attributes:
        format: table, csv or jsonl.
        classes: The class names.
        top: The number of labels per photo, most probable first.
        extras: The values that follow the labels: none, or unknown and ood_score, or prediction_set as well.
    """

    format: Format
    classes: Sequence[str]
    top: int
    extras: Sequence[str]

    def header(self) -> str:
        """The line above the predictions; JSON lines have none."""
        if self.format == "csv":
            numbers = ["", *(f"_{rank}" for rank in range(2, self.top + 1))]
            labels = [name + number for number in numbers for name in ("label", "probability")]
            return format_csv(["file", *labels, *self.extras, "error"])
        return self._table([("label", "probability")] * self.top, self.extras, "file") if self.format == "table" else ""

    def line(self, prediction: Prediction) -> str:
        """One prediction; a table leaves out files that cannot be read."""
        labels, extras = top_labels(prediction, self.classes, self.top), self._extras(prediction)
        if self.format == "csv":
            cells = [cell for pair in labels for cell in pair] or [""] * 2 * self.top
            return format_csv(
                [without_formula(prediction.file), *cells, *map(to_cell, extras.values()), prediction.error]
            )
        if self.format == "table":
            rounded = [(label, f"{probability:.4f}") for label, probability in labels]
            values = {**extras, "unknown": "unknown" if prediction.unknown else ""} if extras else {}
            return self._table(rounded, list(map(to_cell, values.values())), prediction.file) if labels else ""
        label, probability = labels[0] if labels else (None, None)
        row = {"file": prediction.file, "label": label, "probability": probability, "probabilities": dict(labels)}
        return json.dumps(row | extras | {"error": prediction.error or None}, ensure_ascii=False) + "\n"

    def _extras(self, prediction: Prediction) -> dict[str, object]:
        values = {name: getattr(prediction, name) for name in self.extras}
        return dict.fromkeys(values) if prediction.error else {name: to_plain(value) for name, value in values.items()}

    def _table(self, labels: Sequence[tuple[str, str]], extras: Sequence[object], file: str) -> str:
        width = max(columns(visible(label)) for label in ("label", *self.classes))
        cells = [f"{visible(label)}{' ' * (width - columns(visible(label)))}  {value:>11}" for label, value in labels]
        for name, value in zip(self.extras, extras, strict=False):
            shown = f"{value:.4f}" if isinstance(value, float) else visible(str(value))
            cells.append(f"{shown:<{max(10, len(name))}}")
        return "  ".join([*cells, visible(file)]) + "\n"


def top_labels(prediction: Prediction, classes: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The most probable labels and their probabilities, rounded to six significant digits."""
    order = [] if prediction.error else np.argsort(-prediction.probabilities, kind="stable")[:top].tolist()
    return [(classes[label], to_plain(prediction.probabilities[label])) for label in order]


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any value of a prediction
    """A value for JSON: numbers with six significant digits, tuples as lists."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return list(value) if isinstance(value, tuple) else value


def to_cell(value: object) -> object:
    """A value for CSV: true or false, an empty cell for None, several labels separated by a slash."""
    if isinstance(value, bool):
        return str(value).lower()
    return "/".join(value) if isinstance(value, list) else "" if value is None else value


def without_formula(path: str) -> str:
    """The same path, written so that a spreadsheet does not take it for a formula."""
    return f"./{path}" if path.startswith(("=", "+", "-", "@", "\t", "\r")) else path


def format_csv(cells: Sequence[object]) -> str:
    """A line of CSV. Python before 3.13 does not quote a carriage return by itself."""
    line = io.StringIO()
    odd = any("\r" in str(cell) for cell in cells)
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    csv.writer(line, lineterminator="\n", quoting=quoting).writerow(cells)
    return line.getvalue()


def columns(text: str) -> int:
    """The number of columns in a terminal: Chinese, Japanese and Korean characters take two."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)
