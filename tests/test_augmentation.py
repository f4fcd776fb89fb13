"""Augmentation draws what the books' layers and, for the first edition, ImageDataGenerator draw."""

import math

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from pipelines import ROOT

from smallset import augmentation, params

SIDE, DRAWS = 100, 400
STILL = params.Augmentation(flip="horizontal", rotation=0, shift=0, shear=0, zoom=0, keep_aspect=True, fill="nearest")


def places(**changes: object) -> NDArray[np.float64]:
    """Where DRAWS draws take a picture whose red and green are each pixel's own column and row: (n, side, side, 2)."""
    columns, rows = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    picture = np.stack([columns, rows, 0 * rows], axis=-1).astype(np.float32)
    layers = augmentation.build(STILL.model_copy(update=changes), SIDE, seed=0)
    unflipped = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers.layers[1:]])
    return np.asarray(unflipped(np.repeat(picture[None], DRAWS, axis=0), training=True))[..., :2].astype(np.float64)


def test_nothing_moves_but_when_training() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    first = params.read(ROOT / "first-edition/params.yaml").augmentation
    augment = augmentation.build(first, SIDE, seed=0)
    assert [type(layer).__name__ for layer in augment.layers] == [
        *("RandomFlip", "RandomRotation", "RandomTranslation", "RandomShear", "RandomZoom")
    ]
    np.testing.assert_array_equal(augment(pixels, training=False), pixels)
    assert not np.array_equal(augment(pixels, training=True), pixels)


def test_a_mirror_image_has_left_and_right_exchanged_always() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_array_equal(augmentation.mirror(SIDE)(pixels), pixels[:, :, ::-1])


def test_the_second_edition_draws_what_it_always_drew() -> None:
    book = params.read(ROOT / "params.yaml").augmentation
    pixels = np.random.default_rng(0).uniform(0, 255, (4, SIDE, SIDE, 3)).astype(np.float32)
    listing = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal", seed=7),
            keras.layers.RandomRotation(0.1, seed=8),
            keras.layers.RandomZoom(0.2, seed=9),
        ]
    )
    ours = augmentation.build(book, SIDE, seed=7)
    np.testing.assert_array_equal(ours(pixels, training=True), listing(pixels, training=True))


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
