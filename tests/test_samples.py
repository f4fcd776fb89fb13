"""Draws of photos: each class has its share, no group is divided, and a larger draw holds the smaller ones."""

from pathlib import Path

import numpy as np
import pytest

from smallset.datasets.lists import Photos
from smallset.evaluation import samples


def photos(counts: tuple[int, ...], group: int = 0) -> Photos:
    """So many of each class; of the first class, `group` photos belong together by twos."""
    labels = np.repeat(np.arange(len(counts)), counts)
    groups = tuple(f"walk {row // 2}" if row < group else "" for row in range(len(labels)))
    names = tuple(f"{row}.jpg" for row in range(len(labels)))
    return Photos(Path("photos"), tuple("abc"[: len(counts)]), names, labels, (), groups if group else ())


@pytest.mark.parametrize("group", [0, 60])
def test_a_draw_has_of_every_class_its_share_and_all_of_a_group(group: int) -> None:
    found = photos((300, 150, 4), group)
    before: set[int] = set()
    for size in (3, 30, 227, 454):
        rows = samples.drawn(found, size, seed=1)
        counts = np.bincount(found.labels[rows], minlength=3)
        assert before <= set(rows)
        assert abs(len(rows) - size) <= (1 if group else 0)
        assert counts.min() >= 1
        if size > 3:
            np.testing.assert_allclose(counts / len(rows), [300 / 454, 150 / 454, 4 / 454], atol=0.06)
        assert set(found.units[rows]).isdisjoint(np.delete(found.units, rows))
        before = set(rows)
    assert set(samples.drawn(found, 30, seed=2)) != set(samples.drawn(found, 30, seed=1))


def test_folds_divide_no_group_and_every_class_alike() -> None:
    found = photos((300, 150, 10), 60)
    fold = samples.folds(found, 5, seed=0)
    assert np.unique(fold).tolist() == [0, 1, 2, 3, 4]
    assert (np.bincount(fold, minlength=5) > 80).all()
    assert all(np.bincount(fold[found.labels == 2], minlength=5) == 2)
    assert all(len(set(fold[found.units == unit])) == 1 for unit in np.unique(found.units))
