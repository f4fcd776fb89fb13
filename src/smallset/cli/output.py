"""Predictions as text: a table for people, CSV and JSON lines for programs."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.cells import cell_len, set_cell_size

from smallset.pipeline.text import visible

if TYPE_CHECKING:
    from smallset.models.classifier import Prediction

Format = Literal["table", "csv", "jsonl"]


class Formatter:
    """Writes predictions of a classifier in one format."""

    def __init__(self, format: Format | None, classes: Sequence[str], top: int, extras: Sequence[str]) -> None:  # noqa: A002
        """Prepare a table, CSV or JSON lines; None: a table on a terminal, and CSV elsewhere.

        top: The number of labels per photo, most probable first. extras: The values of a prediction that follow them.
        """
        self.format = format or ("table" if sys.stdout.isatty() else "csv")
        self.classes, self.top, self.extras = classes, min(top, len(classes)), extras
        self.width = max(cell_len(visible(label)) for label in ("label", *classes))  # two for a Chinese character

    def header(self) -> str:
        """The line above the predictions; JSON lines have none."""
        if self.format == "csv":
            numbers = ["", *(f"_{rank}" for rank in range(2, self.top + 1))]
            labels = [name + number for number in numbers for name in ("label", "probability")]
            return format_csv(["file", *labels, *self.extras, "error"])
        return self._align([("label", "probability")] * self.top, self.extras, "file") if self.format == "table" else ""

    def line(self, prediction: "Prediction") -> str:
        """Format one prediction as a line. In a table, the line is empty if the file cannot be read."""
        labels, extras = self._labels(prediction), self._extras(prediction)
        if self.format == "csv":
            return format_csv(self.cells(prediction))
        if self.format == "table":
            if "unknown" in extras:  # a word for people
                extras["unknown"] = "unknown" if prediction.unknown else ""
            cells = [f"{value:.4f}" if isinstance(value, float) else str(to_cell(value)) for value in extras.values()]
            rounded = [(label, f"{probability:.4f}") for label, probability in labels]
            return self._align(rounded, cells, prediction.file) if labels else ""
        label, probability = labels[0] if labels else (None, None)
        row = {"file": prediction.file, "label": label, "probability": probability, "probabilities": dict(labels)}
        return json.dumps(row | extras | {"error": prediction.error or None}, ensure_ascii=False) + "\n"

    def cells(self, prediction: "Prediction") -> list[object]:
        """One prediction as cells of CSV: the file, labels and probabilities, the extras, and the error."""
        labels = [cell for pair in self._labels(prediction) for cell in pair] or [""] * 2 * self.top
        extras = map(to_cell, self._extras(prediction).values())
        return [without_formula(prediction.file), *labels, *extras, prediction.error]

    def _labels(self, prediction: "Prediction") -> list[tuple[str, float]]:
        order = [] if prediction.error else np.argsort(-prediction.probabilities, kind="stable")[: self.top].tolist()
        return [(self.classes[label], to_plain(prediction.probabilities[label])) for label in order]

    def _extras(self, prediction: "Prediction") -> dict[str, Any]:
        return {name: None if prediction.error else to_plain(getattr(prediction, name)) for name in self.extras}

    def _align(self, labels: Sequence[tuple[str, str]], extras: Sequence[str], file: str) -> str:
        cells = [f"{set_cell_size(visible(label), self.width)}  {value:>11}" for label, value in labels]
        extras = [f"{visible(value):<{max(10, len(name))}}" for name, value in zip(self.extras, extras, strict=True)]
        return "  ".join([*cells, *extras, visible(file)]) + "\n"


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any value of a prediction
    """A value for JSON: numbers with six significant digits, tuples as lists."""
    return float(f"{value:.6g}") if isinstance(value, float) else list(value) if isinstance(value, tuple) else value


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
    line, odd = io.StringIO(), any("\r" in str(cell) for cell in cells)
    csv.writer(line, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL).writerow(cells)
    return line.getvalue()
