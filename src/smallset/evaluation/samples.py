"""Draws from labelled photos that give each class its share, and never divide a group."""

import numpy as np
from numpy.typing import NDArray

from smallset.datasets.lists import Photos

Rows = NDArray[np.int64]


def places(found: Photos, seed: int) -> NDArray[np.float64]:
    """A place from 0 to below 1 for each photo, (n,), the same for those of one group.

    The photos with a place in any part of that range are a draw, of every class about as large a share. A group counts
    as of the class of its first photo.
    """
    random = np.random.default_rng(seed)
    _, firsts, units = np.unique(found.units, return_index=True, return_inverse=True)
    classes, place = found.labels[firsts], np.empty(len(firsts))
    for label in np.unique(classes):
        own = random.permutation(np.flatnonzero(classes == label))
        place[own] = (np.arange(len(own)) + random.random(len(own))) / len(own)
    return place[units]


def drawn(found: Photos, size: int, seed: int) -> Rows:
    """Rows of `size` photos, or of as many as whole groups make; of every class something, and of one seed's draws each
    holds the smaller ones."""
    place = places(found, seed)
    for label in np.unique(found.labels):
        place[place == place[found.labels == label].min()] = -1
    order = np.sort(place)
    last = order[min(size, len(order)) - 1]
    return np.flatnonzero(place <= last)


def folds(found: Photos, count: int, seed: int) -> Rows:
    """The number of the fold, 0 to count - 1, that each photo is in, (n,)."""
    return (places(found, seed) * count).astype(np.int64)
