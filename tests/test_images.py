"""Photos as batches, and their augmentation: shapes, ranges, order, seeds."""

from typing import Any

import numpy as np
import pytest

from smallset import augmentation, images, params, photos

SIZE = 78


def labels(found: photos.Photos, seed: int | None, epochs: int = 1) -> list[list[float]]:
    batches = images.load(found, SIZE, 4, seed).take(epochs * images.passing(len(found.files), 4))
    every = [float(label) for _, batch in batches for label in batch[:, 0]]
    return np.reshape(every, (epochs, -1)).tolist()


def test_batches_hold_rgb_pixels_in_0_to_255(drawn: photos.Photos) -> None:
    batches = list(images.load(drawn, SIZE, 4))
    assert [batch[0].shape.as_list() for batch in batches] == [
        [4, SIZE, SIZE, 3],
        [4, SIZE, SIZE, 3],
        [2, SIZE, SIZE, 3],
    ]
    pixels = np.concatenate([batch[0] for batch in batches])
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() < 50 < 200 < pixels.max() <= 255


def test_a_photo_of_the_right_size_is_left_as_it_is(drawn: photos.Photos) -> None:
    np.testing.assert_array_equal(images.pixels(drawn.at(drawn.spread(1)), 80)[0], photos.decode(drawn.paths()[0]))


def test_the_order_is_new_in_each_epoch_and_the_same_for_one_seed(drawn: photos.Photos) -> None:
    assert labels(drawn, None) == [drawn.labels.tolist()]
    first, second = labels(drawn, 1, epochs=2)
    assert first != second
    assert sorted(first) == sorted(second) == drawn.labels.tolist()
    assert labels(drawn, 1, epochs=2) == [first, second]


def test_batches_go_on_at_any_number(drawn: photos.Photos) -> None:
    endless = [np.asarray(batch) for batch, _ in images.load(drawn, SIZE, 4, 1).take(8)]
    assert [len(batch) for batch in endless] == [4, 4, 2, 4, 4, 2, 4, 4]
    for start in (1, 5):
        for batch, (other, _) in zip(endless[start:], images.load(drawn, SIZE, 4, 1, start), strict=False):
            np.testing.assert_array_equal(batch, other)


def test_augmentation_changes_photos_in_training_alone(document: Any, drawn: photos.Photos) -> None:
    p = params.parse(document).augmentation
    pixels = images.pixels(drawn, SIZE)
    augment = augmentation.build(p, SIZE, seed=0)
    np.testing.assert_array_equal(augment(pixels, training=False), pixels)
    once, twice = (np.asarray(augment(pixels, training=True)) for _ in range(2))
    assert not np.array_equal(once, twice)
    assert -1e-3 <= once.min() <= once.max() <= 255.001
    again = augmentation.build(p, SIZE, seed=0)
    np.testing.assert_array_equal(again(pixels, training=True), once)


def test_a_photo_that_broke_since_the_subset_was_made_is_named(drawn: photos.Photos) -> None:
    (drawn.folder / "cat/cat.0.jpg").write_bytes(b"")
    with pytest.raises(Exception, match=r"cat.0.jpg: does not decode"):
        images.pixels(drawn, SIZE)
