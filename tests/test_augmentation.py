"""Augmentation draws what the book's layers draw, photo by photo."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from albums import digest, make_album
from conftest import ROOT
from numpy.typing import NDArray

from smallset.images import augmentation
from smallset.pipeline import params

SIZE, COUNT = 100, 400
NOTHING = params.Augmentation(flip="none", rotation=0, zoom=0, fill="nearest")
BOOK = params.read(ROOT / "params.yaml").augmentation
COLUMNS, ROWS = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
POSITIONS = np.stack([COLUMNS, ROWS, 0 * ROWS], axis=-1).astype(np.float32)  # each pixel's own column and row


PHOTOS = make_album({"a": COUNT})  # of which only the digests are used


def origins(**changes: object) -> NDArray[np.float64]:
    """The column and row that each pixel of each photo is taken from: (count, size, size, 2)."""
    view = augmentation.view(NOTHING.model_copy(update=changes), SIZE, 0, 0)
    return np.asarray(view(np.repeat(POSITIONS[None], COUNT, axis=0), PHOTOS))[..., :2].astype(np.float64)


def test_a_view_depends_on_seed_number_and_photo_alone() -> None:
    photos = PHOTOS.take([*range(6)])
    drawn = augmentation.draw_transforms(BOOK, SIZE, 1, 2, photos)
    some = augmentation.draw_transforms(BOOK, SIZE, 1, 2, photos.take([4, 0, 5]))
    np.testing.assert_array_equal(some, drawn[[4, 0, 5]])
    renamed = replace(photos, table=photos.table.assign(file="x", label="b"))
    np.testing.assert_array_equal(augmentation.draw_transforms(BOOK, SIZE, 1, 2, renamed), drawn)
    others = [augmentation.draw_transforms(BOOK, SIZE, *key, photos) for key in ((2, 2), (1, 3))]
    assert len({tuple(row) for transforms in (drawn, *others) for row in transforms}) == 18


def test_views_are_those_of_0_2_0() -> None:
    photos = PHOTOS.take([0])
    table = photos.table.assign(sha256=digest("a/0"))
    drawn = augmentation.draw_transforms(BOOK, 180, 1337, 0, replace(photos, table=table))
    np.testing.assert_allclose(drawn[0, :3], [1.0763688, -0.2957559, 19.6351414], rtol=1e-6)


@pytest.mark.parametrize(("key", "value"), [("zoom", 0.2), ("rotation", 0.02), ("fill", "wrap")])
def test_one_param_does_not_change_what_another_draws(key: str, value: object) -> None:
    flipped = NOTHING.model_copy(update={"flip": "horizontal"})
    changed = flipped.model_copy(update={key: value})
    flips = [augmentation.draw_transforms(p, SIZE, 0, 0, PHOTOS)[:, 0] < 0 for p in (changed, flipped)]
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
    view = augmentation.view(NOTHING.model_copy(update={"zoom": 0.3, "fill": fill}), SIZE, 0, 0)
    moved = np.asarray(view(np.full((COUNT, SIZE, SIZE, 3), 200, np.float32), PHOTOS))
    assert (moved.min() < 1) == black
