"""Photos in the report: small JPEGs that are part of the page, each with a caption and a description."""

import base64
import io
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from smallset.images import decoding

SIZE = 240  # px at most; a phone shows two in a row
QUALITY = 78
MAX_PROBABILITY = 0.99995  # four digits would round a larger one to 1
MISTAKES = 12  # of the best model; of each other model half as many
EXAMPLES = 4  # correct photos that are shown with a heat map, and as many mistakes

Row = Mapping[Hashable, Any]  # of a table
Pixels = NDArray[np.uint8]


class Picture(NamedTuple):
    """A picture as a data URI, with its size in px and a description."""

    uri: str
    width: int
    height: int
    alt: str


class Figure(NamedTuple):
    """One or two pictures with a caption: a file name and a line about it."""

    pictures: tuple[Picture, ...]
    name: str
    description: str
    wrong: bool = False  # whether it shows a mistake


def encode_jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    """Pixels (h, w, 3) as a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def encode(pixels: Pixels, alt: str) -> Picture:
    """Pixels (h, w, 3) as a picture of the page."""
    uri = f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(pixels, QUALITY)).decode()}"
    return Picture(uri, pixels.shape[1], pixels.shape[0], alt)


def shrink(photo: Pixels | Path, size: int = SIZE) -> Pixels:
    """A photo, or that of a file, with at most `size` px on its longer side."""
    image = Image.fromarray(decoding.decode(photo) if isinstance(photo, Path) else photo)
    image.thumbnail((size, size))
    return np.asarray(image)


def show_files(row: Row, words: str, root: Path) -> Figure:
    """The photo of a row of issues.csv or label_issues.csv, or the two photos of a duplicate."""
    names, splits = ([*filter(None, (row[key], row.get(f"other_{key}")))] for key in ("file", "split"))
    description = f"{words} ({' and '.join(dict.fromkeys(splits))})"
    pictures = tuple(encode(shrink(root / name), f"Photo {name}: {description}") for name in names)
    return Figure(pictures, " and ".join(names), description)


def show_prediction(model: str, row: Row, photo: Pixels, overlay: Picture | None = None, method: str = "") -> Figure:
    """A row of predictions.csv: the photo, perhaps beside the same photo under its heat map."""
    actual, predicted = row["actual"], row["predicted"]
    probability = f"{row['probability']:.4f}" if row["probability"] < MAX_PROBABILITY else "> 0.9999"
    alt = f"Test photo {row['file']} of {actual}; {model} predicts {predicted} with probability {probability}"
    words = predicted if actual == predicted else f"{actual}, predicted as {predicted}"
    description = "; ".join(filter(None, [f"{words}: {probability}", method]))
    pictures = tuple(filter(None, [encode(photo, alt), overlay]))
    return Figure(pictures, row["file"], description, wrong=actual != predicted)


def show_mistakes(predictions: Mapping[str, pd.DataFrame], best: str, root: Path) -> dict[str, list[Figure]]:
    """The most confident mistakes of each model, and more of them for the best one."""
    counts = {model: MISTAKES if model == best else MISTAKES // 2 for model in predictions}
    rows = {model: sort_mistakes(table).head(counts[model]) for model, table in predictions.items()}
    return {
        model: [show_prediction(model, row, shrink(root / row["file"])) for row in table.to_dict("records")]
        for model, table in rows.items()
    }


def sort_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows of predictions.csv with a wrong prediction, the most confident first; equal ones alternate by class."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    wrong = wrong.assign(rank=wrong.groupby("actual").cumcount())
    return wrong.sort_values(["probability", "rank", "actual"], ascending=[False, True, True]).drop(columns="rank")


def select_examples(predictions: pd.DataFrame) -> pd.DataFrame:
    """A few rows of predictions.csv with correct predictions, of every class, and the most confident mistakes."""
    correct = predictions[predictions["actual"] == predictions["predicted"]]
    rows = np.unique(np.linspace(0, len(correct) - 1, min(EXAMPLES, len(correct))).astype(int))
    return pd.concat([correct.iloc[rows], sort_mistakes(predictions).head(EXAMPLES)])
