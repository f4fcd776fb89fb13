"""Photos as batches: shapes, ranges, order, and seeds."""

from typing import Any

import numpy as np
import pytest

from smallset.datasets.dataset import Dataset
from smallset.images import augmentation, batches, decoding
from smallset.pipeline import params

SIZE = 78


def labels(photos: Dataset, seed: int | None, epochs: int = 1) -> list[list[float]]:
    loaded = batches.load(photos, SIZE, 4, seed).take(epochs * batches.passing(len(photos), 4))
    values = [float(label) for _, batch in loaded for label in batch[:, 0]]
    return np.reshape(values, (epochs, -1)).tolist()


def test_batches_contain_rgb_pixels_from_0_to_255(drawn: Dataset) -> None:
    loaded = [np.asarray(batch) for batch, _ in batches.load(drawn, SIZE, 4)]
    assert [batch.shape for batch in loaded] == [(4, SIZE, SIZE, 3), (4, SIZE, SIZE, 3), (2, SIZE, SIZE, 3)]
    assert {batch.dtype for batch in loaded} == {np.dtype(np.float32)}
    assert 0 <= loaded[0].min() < 50 < 200 < loaded[0].max() <= 255
    np.testing.assert_array_equal(batches.pixels(drawn.take([0]), 80)[0], decoding.decode(drawn.paths[0]))


def test_each_epoch_has_its_own_order(drawn: Dataset) -> None:
    assert labels(drawn, None) == [drawn.labels.tolist()]
    first, second = labels(drawn, 1, epochs=2)
    assert first != second
    assert sorted(first) == sorted(second) == drawn.labels.tolist()
    assert labels(drawn, 1, epochs=2) == [first, second]
    # The order is that of 0.2.0.
    assert batches.rows(4, 10, 4, seed=1).tolist() == [1, 0, 3, 5]


def test_training_continues_at_any_batch(drawn: Dataset) -> None:
    endless = [np.asarray(batch) for batch, _ in batches.load(drawn, SIZE, 4, 1).take(8)]
    assert [len(batch) for batch in endless] == [4, 4, 2, 4, 4, 2, 4, 4]
    for start in (1, 5):
        for batch, (other, _) in zip(endless[start:], batches.load(drawn, SIZE, 4, 1, start), strict=False):
            np.testing.assert_array_equal(batch, other)


def test_only_training_photos_are_augmented(document: Any, drawn: Dataset) -> None:
    p = params.parse(document).augmentation
    pixels = batches.pixels(drawn, SIZE)
    ((plain, _),) = batches.load(drawn, SIZE, 10, augment=p)
    np.testing.assert_array_equal(plain, pixels)

    def two_epochs(seed: int) -> list[np.ndarray]:
        """The pixels of two epochs in the order of the photos."""
        orders = [np.argsort(batches.rows(epoch, 10, 10, seed)) for epoch in (0, 1)]
        loaded = batches.load(drawn, SIZE, 10, seed, augment=p).take(2)
        return [np.asarray(batch)[order] for (batch, _), order in zip(loaded, orders, strict=True)]

    first, second = two_epochs(1)
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert -1e-3 <= first.min() <= first.max() <= 255.001
    np.testing.assert_array_equal(two_epochs(1), [first, second])
    alone = augmentation.view(p, SIZE, 1, 0)(pixels[:1], drawn.take([0]))
    np.testing.assert_allclose(alone[0], first[0], atol=1e-3)


def test_a_photo_that_has_been_damaged_is_named(drawn: Dataset) -> None:
    drawn.paths[0].write_bytes(b"")
    with pytest.raises(Exception, match=r"cat.0.jpg: does not decode"):
        batches.pixels(drawn, SIZE)
