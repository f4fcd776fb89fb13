"""Datasets and features from arrays, for tests that need no photos."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.features.store import Features

NAMES = "abcdefghij"
PROPERTIES = {"width": 100, "height": 80, "brightness": 0.5, "sharpness": 0.7, "saturation": 0.4}


def dataset(labels: Sequence[int] | NDArray[np.int64], split: Any = "train", group: Any = "") -> Dataset:
    """Photos with these labels, named a, b, c, ...; split and group: of each photo, or of all."""
    names = [NAMES[label] for label in labels]
    table = pd.DataFrame({"file": [f"photos/{name}/{row}.jpg" for row, name in enumerate(names)], "label": names})
    table = table.assign(split=split, group=group, sha256=[f"{row:064x}" for row in range(len(names))], **PROPERTIES)
    return Dataset(table, tuple(NAMES[: max(labels) + 1]))


def features(photos: Dataset, values: NDArray[np.floating], flipped: NDArray[np.floating] | None = None) -> Features:
    """Features (n, d), and thumbnails that are all different."""
    thumbnails = np.random.default_rng(0).integers(0, 256, (len(photos), 64, 64), np.uint8)
    mirrored = None if flipped is None else flipped.astype(np.float16)
    return Features(photos, values.astype(np.float16), mirrored, thumbnails, {"image_size": 96, "flip": "none"})


def separable(photos: Dataset, distance: float, seed: int, dimensions: int = 16) -> Features:
    """Features in which the classes have a distance of so many standard deviations."""
    centers = (
        np.random.default_rng(0).normal(size=(len(photos.classes), dimensions)) * distance / np.sqrt(2 * dimensions)
    )
    return features(photos, centers[photos.labels] + np.random.default_rng(seed).normal(size=(len(photos), dimensions)))
