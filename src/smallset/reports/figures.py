"""Matplotlib figures for stages and commands, which save them."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import font_manager, rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from smallset.pipeline import files

CJK_FONTS = {"Noto Sans CJK JP", "Hiragino Sans", "Malgun Gothic", "Microsoft YaHei"}  # for Chinese, Japanese, Korean


def save(figure: Figure, path: Path) -> None:
    """Write a PNG with 100 dots per inch; equal figures give equal bytes."""
    with files.atomic_write(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a class name in a script that no installed font has
        figure.savefig(draft, format="png", dpi=100, metadata={"Software": None})


def grid(pictures: Sequence[NDArray[np.generic]], titles: Sequence[str], columns: int, width: float = 2.2) -> Figure:
    """Pictures (h, w, 3) of one shape, 0..255, in rows, each below its title; `width` is that of one, in inches."""
    rows = -(-len(pictures) // columns)
    height = width * pictures[0].shape[0] / pictures[0].shape[1] + 0.4
    figure = Figure((width * columns, height * rows), layout="constrained")
    installed = {font.name for font in font_manager.fontManager.ttflist}
    with rc_context({"font.family": ["DejaVu Sans", *sorted(CJK_FONTS & installed)]}):
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes:
            ax.axis("off")
        for ax, pixels, title in zip(axes, pictures, titles, strict=False):
            ax.imshow(np.clip(pixels, 0, 255).astype(np.uint8))
            ax.set_title(title, fontsize=4 * width, parse_math=False)  # file names may contain dollars
    return figure
