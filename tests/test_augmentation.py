"""Augmentation draws what the book's layers draw, photo by photo."""

import hashlib
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.images import augmentation
from smallset.pipeline import params

SIZE, COUNT = 100, 400
NOTHING = params.Augmentation(flip="none", rotation=0, zoom=0, fill="nearest")
BOOK = params.read(ROOT / "params.yaml").augmentation
STILL = NOTHING.model_copy(update={"flip": "horizontal"})
COLUMNS, ROWS = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
POSITIONS = np.stack([COLUMNS, ROWS, 0 * ROWS], axis=-1).astype(np.float32)  # each pixel's own column and row


def album(count: int = COUNT) -> Dataset:
    """Photos of which only the digest is used."""
    digests = [hashlib.sha256(f"a/{number}".encode()).hexdigest() for number in range(count)]
    return Dataset(pd.DataFrame({"file": digests, "label": "a", "sha256": digests}), ("a", "b"))


def origins(**changes: object) -> NDArray[np.float64]:
    """The column and row that each pixel of each photo is taken from: (count, size, size, 2)."""
    p = NOTHING.model_copy(update=changes)
    transforms = augmentation.draw_transforms(p, SIZE, 0, 0, album())
    pictures = np.repeat(POSITIONS[None], COUNT, axis=0)
    return np.asarray(augmentation.transform(pictures, transforms, p.fill))[..., :2].astype(np.float64)


def test_a_view_depends_on_seed_number_and_photo_alone() -> None:
    photos = album(6)
    drawn = augmentation.draw_transforms(BOOK, SIZE, 1, 2, photos)
    some = augmentation.draw_transforms(BOOK, SIZE, 1, 2, photos.take([4, 0, 5]))
    np.testing.assert_array_equal(some, drawn[[4, 0, 5]])
    renamed = replace(photos, table=photos.table.assign(file="x", label="b"))
    np.testing.assert_array_equal(augmentation.draw_transforms(BOOK, SIZE, 1, 2, renamed), drawn)
    others = [augmentation.draw_transforms(BOOK, SIZE, *key, photos) for key in ((2, 2), (1, 3))]
    assert len({tuple(row) for transforms in (drawn, *others) for row in transforms}) == 18


def test_views_are_those_of_0_2_0() -> None:
    drawn = augmentation.draw_transforms(BOOK, 180, 1337, 0, album(3))
    expected = [
        [1.0763688, -0.2957559, 19.6351414],
        [0.7903914, 0.1803797, 2.615984],
        [1.1651359, -0.1155699, -4.436153],
    ]
    np.testing.assert_allclose(drawn[:, :3], expected, rtol=1e-6)


def test_one_param_does_not_change_what_another_draws() -> None:
    for key, value in {"zoom": 0.2, "rotation": 0.02, "fill": "wrap"}.items():
        changed = BOOK.model_copy(update={"rotation": 0, "zoom": 0} | {key: value})
        flips = [augmentation.draw_transforms(p, SIZE, 0, 0, album(20))[:, 0] < 0 for p in (changed, STILL)]
        np.testing.assert_array_equal(flips[0], flips[1])


@pytest.mark.parametrize(
    ("flip", "columns", "rows"),
    [("none", 0, 0), ("horizontal", 0.5, 0), ("vertical", 0, 0.5), ("horizontal_and_vertical", 0.5, 0.5)],
)
def test_flips_are_of_whole_pixels_in_half_of_the_photos(flip: str, columns: float, rows: float) -> None:
    moved = origins(flip=flip)
    turned = [moved[:, 0, 0, axis] > SIZE / 2 for axis in (0, 1)]
    for share, mask in zip((columns, rows), turned, strict=True):
        assert abs(mask.mean() - share) < 0.1
    for photo, left_right, up_down in zip(moved, *turned, strict=True):
        expected = POSITIONS[:: -1 if up_down else 1, :: -1 if left_right else 1, :2]
        np.testing.assert_allclose(photo, expected, atol=1e-3)


def test_it_draws_what_the_layers_of_listing_8_14_draw() -> None:
    # Their layers one after the other, and ours in one step: the distribution of where pixels come from.
    listing = keras.Sequential([keras.layers.RandomRotation(0.1, seed=8), keras.layers.RandomZoom(0.2, seed=9)])
    theirs = np.asarray(listing(np.repeat(POSITIONS[None], COUNT, axis=0), training=True))[..., :2]
    ours = origins(rotation=BOOK.rotation, zoom=BOOK.zoom, fill=BOOK.fill)
    for place in ((50, 50), (50, 75), (25, 50), (30, 30)):
        for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
            expected, found = (np.quantile(moved[:, *place], quantile, axis=0) for moved in (theirs, ours))
            np.testing.assert_allclose(found, expected, atol=4.0)


def test_a_zoom_keeps_the_aspect_ratio() -> None:
    moved = origins(zoom=0.2)
    width, height = moved[:, 50, 60, 0] - moved[:, 50, 40, 0], moved[:, 60, 50, 1] - moved[:, 40, 50, 1]
    np.testing.assert_allclose(width, height, atol=1e-2)
    assert 0.8 - 1e-3 <= width.min() / 20 < 0.82
    assert 1.18 < width.max() / 20 <= 1.2 + 1e-3


@pytest.mark.parametrize(("fill", "black"), [("nearest", False), ("reflect", False), ("constant", True)])
def test_the_fill_decides_what_is_beyond_the_edges(fill: str, black: bool) -> None:
    pictures = np.full((COUNT, SIZE, SIZE, 3), 200, np.float32)
    p = NOTHING.model_copy(update={"zoom": 0.3})
    moved = np.asarray(augmentation.transform(pictures, augmentation.draw_transforms(p, SIZE, 0, 0, album()), fill))
    assert (moved.min() < 1) == black
