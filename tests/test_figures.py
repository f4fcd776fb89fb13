"""Figures: equal bytes for equal data, any title, and no settings that stay."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from smallset.reports import figures


def test_equal_figures_have_equal_bytes_and_show_the_pictures_in_order(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    pictures = [np.full((20, 40, 3), value) for value in (-5.0, 100.0, 300.0)]
    titles = ["a$b_{$", "猫\N{HATCHING CHICK}", ""]
    drawn = [figures.grid(pictures, titles, columns=2) for _ in range(2)]
    for number, figure in enumerate(drawn):
        figures.save(figure, tmp_path / f"{number}.png")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()
    with Image.open(tmp_path / "1.png") as image:
        assert image.size == (440, 300)  # two columns and two rows
    axes = drawn[0].axes
    assert [ax.get_title() for ax in axes] == [*titles, ""]
    assert [int(np.asarray(ax.images[0].get_array())[0, 0, 0]) for ax in axes[:3]] == [0, 100, 255]
    assert dict(mpl.rcParams) == before
