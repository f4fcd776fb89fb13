"""Photos as batches, and their augmentation: shapes, ranges, order, seeds."""

from typing import Any

import numpy as np
import pytest

from smallset.datasets import lists
from smallset.images import augmentation, batches, decoding
from smallset.pipeline import params

SIZE = 78


def labels(found: lists.Photos, seed: int | None, epochs: int = 1) -> list[list[float]]:
    batches = batches.load(found, SIZE, 4, seed).take(epochs * batches.passing(len(found.files), 4))
    every = [float(label) for _, batch in batches for label in batch[:, 0]]
    return np.reshape(every, (epochs, -1)).tolist()


def test_batches_hold_rgb_pixels_in_0_to_255(drawn: lists.Photos) -> None:
    batches = list(batches.load(drawn, SIZE, 4))
    assert [batch[0].shape.as_list() for batch in batches] == [
        [4, SIZE, SIZE, 3],
        [4, SIZE, SIZE, 3],
        [2, SIZE, SIZE, 3],
    ]
    pixels = np.concatenate([batch[0] for batch in batches])
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() < 50 < 200 < pixels.max() <= 255


def test_a_photo_of_the_right_size_is_left_as_it_is(drawn: lists.Photos) -> None:
    np.testing.assert_array_equal(batches.pixels(drawn.at(drawn.spread(1)), 80)[0], decoding.decode(drawn.paths()[0]))


def test_the_order_is_new_in_each_epoch_and_the_same_for_one_seed(drawn: lists.Photos) -> None:
    assert labels(drawn, None) == [drawn.labels.tolist()]
    first, second = labels(drawn, 1, epochs=2)
    assert first != second
    assert sorted(first) == sorted(second) == drawn.labels.tolist()
    assert labels(drawn, 1, epochs=2) == [first, second]


def test_batches_go_on_at_any_number(drawn: lists.Photos) -> None:
    endless = [np.asarray(batch) for batch, _ in batches.load(drawn, SIZE, 4, 1).take(8)]
    assert [len(batch) for batch in endless] == [4, 4, 2, 4, 4, 2, 4, 4]
    for start in (1, 5):
        for batch, (other, _) in zip(endless[start:], batches.load(drawn, SIZE, 4, 1, start), strict=False):
            np.testing.assert_array_equal(batch, other)


def test_augmentation_changes_photos_in_training_alone(document: Any, drawn: lists.Photos) -> None:
    p = params.parse(document).augmentation
    pixels = batches.pixels(drawn, SIZE)
    [(plain, _)] = batches.load(drawn, SIZE, 10, augment=p)
    np.testing.assert_array_equal(plain, pixels)

    def passes(seed: int) -> list[np.ndarray]:
        """Two passes, each in the order of the photos again."""
        orders = [np.argsort(batches.rows(turn, 10, 10, seed)) for turn in (0, 1)]
        batches = batches.load(drawn, SIZE, 10, seed, augment=p).take(2)
        return [np.asarray(batch)[order] for (batch, _), order in zip(batches, orders, strict=True)]

    once, twice = passes(1)
    assert not any(np.array_equal(a, b) for a, b in zip(once, twice, strict=True))
    assert -1e-3 <= once.min() <= once.max() <= 255.001
    np.testing.assert_array_equal(passes(1), [once, twice])
    drawn_alone = augmentation.view(p, SIZE, 1, 0)(pixels[:1], drawn.at(np.array([0])))
    np.testing.assert_allclose(drawn_alone[0], once[0], atol=1e-3)


def test_a_photo_that_broke_since_the_subset_was_made_is_named(drawn: lists.Photos) -> None:
    (drawn.folder / "cat/cat.0.jpg").write_bytes(b"")
    with pytest.raises(Exception, match=r"cat.0.jpg: does not decode"):
        batches.pixels(drawn, SIZE)
