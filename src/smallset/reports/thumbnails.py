"""Photos for the report: small JPEGs that are part of the page, each with its caption and a text in its place."""

import base64
import io
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from smallset.reports import figures

SIDE = 240  # px at most; a phone shows two in a row
QUALITY = 78
CERTAIN = 0.99995  # what four digits would round to 1

MISTAKES = 12  # of the best model; of each other one half as many
EXAMPLES = 4  # photos that it gets right, and as many that it gets wrong, under its heat map

Row = Mapping[Hashable, Any]  # of a table


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, its size in px, and what says in words what it shows."""

    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Figure:
    """One picture or two under one caption: a name and a line on it. wrong: whether it shows an error."""

    pictures: tuple[Picture, ...]
    name: str
    words: str
    wrong: bool = False


@dataclass(frozen=True)
class Gallery:
    """All photos of the report; empty where a pipeline has none to show."""

    mistakes: Mapping[str, Sequence[Figure]]  # of each model, its surest
    heat: Sequence[Figure]
    augmented: Picture | None


def picture(pixels: NDArray[np.uint8], alt: str) -> Picture:
    """Pixels (h, w, 3) as a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, optimize=True)
    uri = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Picture(uri, pixels.shape[1], pixels.shape[0], alt)


def drawn(path: Path, alt: str) -> Picture | None:
    """A picture that another stage has made, reduced; None where there is none."""
    return picture(figures.thumbnail(path, SIDE), alt) if path.is_file() else None


def sure(probability: float) -> str:
    """A probability in four digits, but none as 1: no model is certain."""
    return f"{probability:.4f}" if probability < CERTAIN else "> 0.9999"


def mistakes(predictions: Mapping[str, pd.DataFrame], best: str, test: Path) -> dict[str, list[Figure]]:
    """Each model's most confident mistakes on the photos below `test`, most of them of the best one."""
    return {
        model: [
            Figure(
                (picture(figures.thumbnail(test / row["file"], SIDE), _alt(model, row)),), *_caption(row), wrong=True
            )
            for row in figures.surest_mistakes(rows)
            .head(MISTAKES if model == best else MISTAKES // 2)
            .to_dict("records")
        ]
        for model, rows in predictions.items()
    }


def examples(predictions: pd.DataFrame) -> pd.DataFrame:
    """A few rows that are right, of every class, and the surest ones that are wrong."""
    right = predictions[predictions.actual == predictions.predicted]
    rows = np.unique(np.linspace(0, len(right) - 1, min(EXAMPLES, len(right))).astype(int))
    return pd.concat([right.iloc[rows], figures.surest_mistakes(predictions).head(EXAMPLES)])


def heat(
    model: str, chosen: pd.DataFrame, overlays: Sequence[tuple[NDArray[np.uint8], str]], test: Path
) -> list[Figure]:
    """Each of the `chosen` rows as it is and under its heat map; overlays: as explanation.overlays gives them."""
    figures = []
    for row, (pixels, method) in zip(chosen.to_dict("records"), overlays, strict=True):
        plain = picture(figures.thumbnail(test / row["file"], SIDE), _alt(model, row))
        hot = picture(pixels, f"The same under its heat map for {row['predicted']}: {method}")
        name, words = _caption(row)
        figures.append(Figure((plain, hot), name, f"{words}; {method}", wrong=row["actual"] != row["predicted"]))
    return figures


def _caption(row: Row) -> tuple[str, str]:
    """A file's name, and what was predicted of it."""
    actual, predicted = row["actual"], row["predicted"]
    words = predicted if actual == predicted else f"{actual}, taken for {predicted}"
    return row["file"], f"{words}: {sure(row['probability'])}"


def _alt(model: str, row: Row) -> str:
    says = f"{model} says {row['predicted']} with probability {sure(row['probability'])}"
    return f"Test photo {row['file']} of the class {row['actual']}; {says}"


def of(row: Row, subset: Path, words: str) -> Figure:
    """The photo of a row with the columns split and file, below `subset`/<split>/, with some words."""
    name = f"{row['split']}/{row['file']}"
    shown = picture(figures.thumbnail(subset / row["split"] / row["file"], SIDE), f"Photo {name}: {words}")
    return Figure((shown,), name, words)


def pair(row: Row, subset: Path) -> Figure:
    """The two photos of a row of audit.pairs."""
    other: Row = {name: row[f"other_{name}"] for name in ("split", "file")}
    one, two = of(row, subset, "one of a pair"), of(other, subset, "the other of the pair")
    return Figure((*one.pictures, *two.pictures), f"{one.name} and {two.name}", row["words"])
