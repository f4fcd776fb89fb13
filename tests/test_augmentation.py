"""Augmentation draws what the books' layers and, for the first edition, ImageDataGenerator draw, photo by photo."""

import hashlib
import math
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from pipelines import ROOT

from smallset.datasets import lists
from smallset.images import augmentation
from smallset.pipeline import params

SIDE, DRAWS = 100, 400
STILL = params.Augmentation(flip="horizontal", rotation=0, shift=0, shear=0, zoom=0, keep_aspect=True, fill="nearest")
BOOK = params.read(ROOT / "params.yaml").augmentation
COLUMNS, ROWS = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
PLACES = np.stack([COLUMNS, ROWS, 0 * ROWS], axis=-1).astype(np.float32)  # each pixel's own column and row


def many(count: int) -> lists.Photos:
    """That many photos, of which nothing but their digests is looked at."""
    names = tuple(f"a/{number}" for number in range(count))
    digests = tuple(hashlib.sha256(name.encode()).hexdigest() for name in names)
    return lists.Photos(ROOT, ("a", "b"), names, np.zeros(count, np.int64), digests)


def places(count: int = DRAWS, **changes: object) -> NDArray[np.float64]:
    """Where the pixels of `count` photos come from, those that were mirrored turned back: (n, side, side, 2)."""
    p = STILL.model_copy(update=changes)
    found = many(count)
    transforms = augmentation.drawn(p, SIDE, 0, 0, found)
    pictures = np.repeat(PLACES[None], count, axis=0)
    moved = np.asarray(augmentation.moved(pictures, transforms, p.fill))[..., :2].astype(np.float64)
    mirrored = augmentation.drawn(STILL, SIDE, 0, 0, found)[:, 0] < 0
    moved[mirrored, ..., 0] = SIDE - 1 - moved[mirrored, ..., 0]
    return moved


def test_a_view_is_a_function_of_seed_view_and_photo() -> None:
    found = many(6)
    drawn = augmentation.drawn(BOOK, SIDE, 1, 2, found)
    rows = np.array([4, 0, 5])
    np.testing.assert_array_equal(augmentation.drawn(BOOK, SIDE, 1, 2, found.at(rows)), drawn[rows])
    renamed = replace(found, files=found.files[::-1], labels=1 - found.labels)
    np.testing.assert_array_equal(augmentation.drawn(BOOK, SIDE, 1, 2, renamed), drawn)
    others = [augmentation.drawn(BOOK, SIDE, *key, found) for key in ((2, 2), (1, 3))]
    assert len({tuple(row) for several in (drawn, *others) for row in several}) == 18


def test_one_param_does_not_move_what_another_draws() -> None:
    found = many(20)
    plain, zoomed = (augmentation.drawn(STILL.model_copy(update=p), SIDE, 0, 0, found) for p in ({}, {"zoom": 0.2}))
    np.testing.assert_array_equal(np.sign(plain[:, 0]), np.sign(zoomed[:, 0]))  # who is mirrored


def test_a_mirror_image_has_left_and_right_exchanged_always() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_array_equal(augmentation.mirror(tf.constant(pixels), many(2)), pixels[:, :, ::-1])


def test_a_flip_alone_moves_whole_pixels_in_half_of_the_photos() -> None:
    found = many(DRAWS)
    transforms = augmentation.drawn(STILL, SIDE, 0, 0, found)
    shown = np.asarray(augmentation.moved(np.repeat(PLACES[None], DRAWS, axis=0), transforms, "nearest"))
    mirrored = transforms[:, 0] < 0
    assert 0.4 < mirrored.mean() < 0.6
    np.testing.assert_allclose(shown[mirrored], np.broadcast_to(PLACES[:, ::-1], shown[mirrored].shape), atol=1e-3)
    np.testing.assert_allclose(shown[~mirrored], np.broadcast_to(PLACES, shown[~mirrored].shape), atol=1e-3)


def test_it_draws_what_the_book_s_layers_draw() -> None:
    # Listing 8.14's layers one after the other, and ours in one step: the spread of where the pixels come from.
    listing = keras.Sequential([keras.layers.RandomRotation(0.1, seed=8), keras.layers.RandomZoom(0.2, seed=9)])
    theirs = np.asarray(listing(np.repeat(PLACES[None], DRAWS, axis=0), training=True))[..., :2]
    ours = places(rotation=BOOK.rotation, zoom=BOOK.zoom, fill=BOOK.fill)
    for place in ((50, 50), (50, 75), (25, 50), (30, 30)):
        for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
            expected, found = (np.quantile(some[:, *place], quantile, axis=0) for some in (theirs, ours))
            np.testing.assert_allclose(found, expected, atol=4.0)


def test_a_shift_is_a_fraction_of_the_side_on_each_axis() -> None:
    moved = places(shift=0.2)[:, SIDE // 2, SIDE // 2] - SIDE // 2
    for axis in moved.T:
        assert 18 < axis.max() <= 20.01
        assert -20.01 <= axis.min() < -18
    assert abs(np.corrcoef(moved[:, 0], moved[:, 1])[0, 1]) < 0.2


def test_a_shear_is_an_angle_by_which_rows_slide() -> None:
    drawn = places(shear=20)
    middle = slice(40, 60)
    slopes = np.asarray(drawn[:, 50, 60, 1] - drawn[:, 50, 40, 1]) / 20
    assert 0.9 * math.sin(math.radians(20)) < np.abs(slopes).max() <= math.sin(math.radians(20)) + 1e-3
    assert slopes.min() < 0 < slopes.max()
    np.testing.assert_allclose(drawn[:, middle, 50, 0], 50, atol=1e-3)  # columns stay


def test_a_zoom_is_a_range_of_scales_of_each_side_on_its_own() -> None:
    drawn = places(zoom=0.2, keep_aspect=False)
    wide = (drawn[:, 50, 60, 0] - drawn[:, 50, 40, 0]) / 20
    high = (drawn[:, 60, 50, 1] - drawn[:, 40, 50, 1]) / 20
    for scale in (wide, high):
        assert 0.8 - 1e-3 <= scale.min() < 0.82
        assert 1.18 < scale.max() <= 1.2 + 1e-3
    assert abs(np.corrcoef(wide, high)[0, 1]) < 0.2
    kept = places(zoom=0.2)
    np.testing.assert_allclose(
        kept[:, 50, 60, 0] - kept[:, 50, 40, 0], kept[:, 60, 50, 1] - kept[:, 40, 50, 1], atol=1e-2
    )


@pytest.mark.parametrize(("fill", "black"), [("nearest", False), ("reflect", False), ("constant", True)])
def test_what_comes_in_is_as_the_fill_says(fill: str, black: bool) -> None:
    rows_at_the_edge = places(shift=0.2, fill=fill)[:, SIDE // 2, 0, 1]
    assert (rows_at_the_edge.min() == 0) == black
