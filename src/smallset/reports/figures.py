"""Figures for people. Each function returns one; stages save them."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import font_manager, rcParams
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from smallset.images import decoding
from smallset.pipeline import files
from smallset.pipeline.text import visible

# Matplotlib's own font, and for class names in Chinese, Japanese and Korean what this machine has of the usual ones.
CJK = {"Noto Sans CJK JP", "Hiragino Sans", "Malgun Gothic", "Microsoft YaHei"}
rcParams["font.family"] = ["DejaVu Sans", *sorted(CJK & {font.name for font in font_manager.fontManager.ttflist})]

MISTAKES = 12  # photos in the picture of a model's most confident mistakes
PAIRS = 12  # of photos alike, side by side
LEGIBLE = 80  # classes whose names and counts are in a picture of a confusion matrix
SUSPECTS = 12  # photos whose label is least believed


def save(figure: Figure, path: Path) -> None:
    """A PNG of 100 dots an inch, the same bytes for the same figure."""
    with files.atomic_write(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a class name in a script that no font here has
        figure.savefig(draft, format="png", dpi=100, metadata={"Software": None})


def grid(
    pictures: Sequence[NDArray[np.generic]], titles: Sequence[str], columns: int, none: str = "no mistakes"
) -> Figure:
    """Pixels in 0..255 in rows of `columns`, each with its title; the words `none` when there are no pictures."""
    rows = max(1, -(-len(pictures) // columns))
    figure = Figure((2.2 * columns, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.axis("off")
    for ax, pixels, title in zip(axes, pictures, titles, strict=False):
        ax.imshow(np.clip(pixels, 0, 255).astype(np.uint8))
        ax.set_title(title, fontsize=8, parse_math=False)  # a file's name may have dollars
    if not pictures:
        axes[0].text(0, 0.5, none)
    return figure


def confusion(predictions: pd.DataFrame, classes: Sequence[str], title: str) -> Figure:
    """Photos of each actual class (rows) by predicted class (columns), shaded by their share of the row.

    Of more than LEGIBLE classes the shades alone, in a picture that grows no further.
    """
    counts = pd.crosstab(predictions.actual, predictions.predicted)
    counts = counts.reindex(index=list(classes), columns=list(classes), fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    side = max(3.6, 1.6 + 0.26 * min(len(classes), LEGIBLE))
    figure = Figure((side + 0.6, side), layout="constrained")
    ax = figure.subplots()
    figure.colorbar(ax.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="share of the actual class", shrink=0.8)
    if len(classes) > LEGIBLE:
        ax.set(xlabel="predicted", ylabel="actual", title=f"{title}: {len(classes)} classes, by number in their order")
        return figure
    size = 9 if len(classes) <= 12 else 6
    for row, column in zip(*np.nonzero(counts.to_numpy()), strict=True):
        colour = "white" if shares.iloc[row, column] > 0.5 else "black"
        ax.text(column, row, str(counts.iloc[row, column]), ha="center", va="center", fontsize=size, color=colour)
    names = [visible(name) for name in classes]
    crowded = len(names) > 4 or max(map(len, names)) > 8
    ax.set_xticks(range(len(names)), names, rotation=90 if crowded else 0, fontsize=size)
    ax.set_yticks(range(len(names)), names, fontsize=size)
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        label.set_parse_math(False)
    ax.set(xlabel="predicted", ylabel="actual", title=title)
    return figure


def mistakes(predictions: pd.DataFrame, folder: Path) -> Figure:
    """The photos below `folder` that a model is most sure of and wrong about."""
    worst = surest_mistakes(predictions).head(MISTAKES)
    titles = [
        f"{visible(row['file'])}\n{visible(row['predicted'])} {row['probability']:.4f}"
        for row in worst.to_dict("records")
    ]
    return grid([thumbnail(folder / file) for file in worst.file], titles, columns=4)


def surest_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows that are wrong, the surest first, ties class by class."""
    wrong = predictions[predictions.actual != predictions.predicted]
    wrong = wrong.assign(turn=wrong.groupby("actual").cumcount())
    order = wrong.sort_values(["probability", "turn", "actual"], ascending=[False, True, True])
    return order.drop(columns="turn")


def pairs(found: pd.DataFrame, folder: Path) -> Figure:
    """The first pairs of audit.pairs, two in a row, each photo of `folder`/<split>/ beside the one that is like it."""
    pictures, titles = [], []
    for row in found.head(PAIRS).to_dict("records"):
        for side, words in (("", ""), ("other_", f" ({row['words']})")):
            split, file = row[f"{side}split"], row[f"{side}file"]
            pictures.append(thumbnail(folder / split / file))
            titles.append(f"{split}{words}\n{visible(file)}")
    return grid(pictures, titles, columns=4, none="no photos alike")


def suspects(table: pd.DataFrame, folder: Path) -> Figure:
    """The first photos of suspects.ranked, from `folder`/<split>/, with P(given label) and the likeliest other."""
    rows = table.head(SUSPECTS).to_dict("records")
    titles = [
        f"{row['split']} {visible(row['file'])}\n"
        f"{visible(row['label'])} {row['probability']:.4f} ({visible(row['suspected'])}?)"
        for row in rows
    ]
    return grid([thumbnail(folder / row["split"] / row["file"]) for row in rows], titles, columns=4)


def thumbnail(path: Path, side: int = 400) -> NDArray[np.uint8]:
    """A photo of at most `side` px, (h, w, 3): a dozen of a phone's full size would take gigabytes."""
    image = Image.fromarray(decoding.decode(path))
    image.thumbnail((side, side))
    return np.asarray(image)
