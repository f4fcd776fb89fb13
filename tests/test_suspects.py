"""Label suspects: labels that were swapped are found by what the other photos say."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from smallset.datasets import lists
from smallset.evaluation import label_issues
from smallset.features import caches
from smallset.pipeline.errors import SmallsetError

CLASSES = ("cat", "dog", "horse")
CHANNELS = 16


def features(labels: NDArray[np.int64], seed: int) -> NDArray[np.float16]:
    """(n, 3, 3, 16), as after a ReLU, with a centre for each class and noise over space."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).uniform(0, 1, (len(CLASSES), 1, 1, CHANNELS))
    values = centres[labels] + random.normal(0, 0.3, (len(labels), 3, 3, CHANNELS))
    return np.maximum(values, 0).astype(np.float16)


def whole(values: caches.Array, top: keras.Model | None = None) -> NDArray[np.float32]:
    """What is pooled of all of them."""
    return np.concatenate([*label_issues.pooled(values, top)])


def cached(folder: Path, split: str, values: NDArray[np.float16], labels: NDArray[np.int64]) -> caches.Cache:
    """A cache on disk of photos that need not be there."""
    files = tuple(f"{CLASSES[label]}/{split}.{number}.jpg" for number, label in enumerate(labels))
    found = lists.Photos(folder / split, CLASSES[: labels.max() + 1], files, labels, files)
    caches.create(folder / f"features/photos/{split}.npy", found, values.shape[1:])[:] = values
    return caches.read(folder / f"features/photos/{split}.npy", found)


@pytest.mark.parametrize("seed", range(3))
def test_swapped_labels_are_in_the_first_ranks(tmp_path: Path, seed: int) -> None:
    true = np.arange(600) % 3
    swapped = np.random.default_rng(seed).choice(400, 12, replace=False)  # 2 % of all, in the training photos
    given = true.copy()
    given[swapped] = (true[swapped] + 1) % 3
    values = features(true, seed)
    splits = {"train": slice(0, 400), "validation": slice(400, 600)}
    table = label_issues.find(
        {name: cached(tmp_path, name, values[rows], given[rows]) for name, rows in splits.items()}, seed
    )
    assert [*table.columns] == ["rank", "file", "split", "label", "suspected", "probability"]
    assert table["rank"].tolist() == [*range(1, label_issues.LEAST + 1)]
    assert table["probability"].is_monotonic_increasing
    first = table.head(18).set_index("file")  # 1.5 x 12
    wrong = {f"{CLASSES[given[row]]}/train.{row}.jpg": CLASSES[true[row]] for row in swapped}
    hits = [file for file in wrong if file in first.index]
    assert len(hits) >= 0.85 * len(wrong)
    assert first.loc[hits, "suspected"].tolist() == [wrong[file] for file in hits]
    assert set(first.loc[hits, "split"]) == {"train"}


def test_of_a_trunk_s_output_what_the_top_makes_of_it_counts_and_of_views_the_first(tmp_path: Path) -> None:
    labels = np.arange(60) % 3
    values, other = features(labels, 0), features(labels[::-1], 1)
    doubled = keras.Sequential([keras.Input(values.shape[1:]), keras.layers.Rescaling(2.0)])
    assert np.allclose(whole(values, doubled), 2 * whole(values), atol=1e-5)
    found = cached(tmp_path, "train", values, labels)
    views = caches.Cache(np.stack([values, other]), found.photos)
    assert label_issues.find({"train": views}, 0).equals(label_issues.find({"train": found}, 0))


def test_all_that_are_more_likely_another_class_are_listed() -> None:
    labels = np.zeros(300, np.int64)
    labels[-3:] = 1
    values = np.random.default_rng(0).normal(0, 1, (300, 4)).astype(np.float32)  # tell nothing
    probability = np.tile([0.9, 0.1], (300, 1))
    probability[:100] = [0.3, 0.7]
    table = label_issues.ranked(frame(300), labels, probability, ("cat", "dog"))
    assert len(table) == 103
    assert label_issues.out_of_fold(values, labels, ("cat", "dog"), 0).shape == (300, 2)


def frame(count: int) -> pd.DataFrame:
    return pd.DataFrame({"file": [f"{number}.jpg" for number in range(count)], "split": "train"})


def test_features_are_pooled_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_issues, "PIECE", 4)
    values = features(np.arange(9) % 3, 0)
    assert whole(values) == pytest.approx(values.astype(np.float32).mean(axis=(1, 2)), rel=1e-5)


def test_two_photos_of_a_class_are_enough_and_one_is_too_few() -> None:
    labels = np.array([0] * 6 + [1] * 2)
    values = features(labels, 0).mean(axis=(1, 2)).astype(np.float32)
    assert label_issues.out_of_fold(values, labels, ("cat", "dog"), 0).sum(axis=1) == pytest.approx(np.ones(8))
    with pytest.raises(SmallsetError, match="data/subset: dog: 1 photos .* expected 2 or more, .* Add photos"):
        label_issues.out_of_fold(values[:-1], labels[:-1], ("cat", "dog"), 0)
