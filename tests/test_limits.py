"""Photos unlike those a model knows, at the stated rate; labels that hold the right one, as often as was asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import convnet
from numpy.typing import NDArray

from smallset.models import limits, model_file
from smallset.models.limits import Limits
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

CLASSES = 5


def features(random: np.random.Generator, count: int, directions: int = 20) -> NDArray[np.float32]:
    """Of photos that differ in twenty of a hundred directions, and in all of them a little."""
    axes = np.random.default_rng(0).normal(size=(directions, 100))
    rows = random.normal(size=(count, directions)) @ axes + random.normal(0, 0.5, (count, 100))
    return rows.astype(np.float32)


def sure(random: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities of a model that means something else than it says, and labels."""
    labels = random.integers(CLASSES, size=count)
    logits = random.normal(size=(count, CLASSES)) + 2 * np.eye(CLASSES)[labels]
    probability = np.exp(3 * logits)
    return probability / probability.sum(axis=1, keepdims=True), labels


def fitted(seed: int = 0, count: int = 400) -> Limits:
    random = np.random.default_rng(seed)
    return limits.fit(features(random, 300), features(random, count), *sure(random, count))


def test_photos_of_the_same_kind_are_called_unlike_at_the_stated_rate_and_others_always() -> None:
    random, known = np.random.default_rng(1), fitted()
    alike, other = known.unlikeness(features(random, 20_000)), known.unlikeness(features(random, 200)[:, ::-1])
    for rate in (0.01, 0.05, 0.2):
        assert known.unlike(alike, rate).mean() == pytest.approx(rate, rel=0.5)
        assert known.unlike(other, rate).all()
    assert not known.unlike(known.usual, 0).any()
    assert known.unlike(known.usual, 1).sum() == len(known.usual) - 1


def test_an_odd_photo_among_the_training_photos_is_the_most_unlike() -> None:
    rows = features(np.random.default_rng(0), 100)
    rows[17] = 0.01 * rows[17, ::-1]  # also a pale one
    assert limits.to_others(rows).argmax() == 17


def test_the_labels_that_stay_hold_the_right_one_as_often_as_was_asked_for() -> None:
    random, whole, covered = np.random.default_rng(1), fitted(), []
    for seed in range(200):  # the guarantee is a mean over draws of the validation photos
        validation, given = sure(np.random.default_rng(100 + seed), 99)
        known = replace(whole, doubt=np.sort(1 - validation[np.arange(99), given]))
        probability, labels = sure(random, 500)
        possible = [known.possible(probability, coverage) for coverage in (0.5, 0.9, 0.95, 0.99, 0.995)]
        covered.append([stays[np.arange(500), labels].mean() for stays in possible])
    np.testing.assert_allclose(np.mean(covered, axis=0), [0.5, 0.9, 0.95, 0.99, 1], atol=0.01)
    assert possible[-1].all()  # too few validation photos to leave out any


def test_they_are_kept_in_the_model_file_to_the_byte_and_older_files_have_none(tmp_path: Path) -> None:
    model = convnet(78, 2)
    for name in ("a", "b"):
        model_file.save(model, tmp_path / f"{name}.keras", ("cat", "dog"), beside=vars(fitted()))
    assert files.sha256(tmp_path / "a.keras") == files.sha256(tmp_path / "b.keras")
    assert model_file.load(tmp_path / "a.keras").count_params() == model.count_params()
    found = limits.needed(tmp_path / "a.keras")
    assert {name: values.tobytes() for name, values in vars(found).items()} == {
        name: np.asarray(values).tobytes() for name, values in vars(fitted()).items()
    }
    model_file.save(model, tmp_path / "old.keras", ("cat", "dog"))
    assert limits.load(tmp_path / "old.keras") is None
    with pytest.raises(SmallsetError, match="old.keras: does not know what its photos have in common"):
        limits.needed(tmp_path / "old.keras")
