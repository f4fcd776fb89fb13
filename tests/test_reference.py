"""Unknown photos are flagged at the stated rate, and prediction sets contain the true label as often as stated."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from smallset.models import reference
from smallset.models.reference import Reference, fit_reference
from smallset.pipeline.errors import SmallsetError

CLASSES = 5


def draw_features(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Photos that vary in 20 of 100 directions, and a little in all of them."""
    axes = np.random.default_rng(0).normal(size=(20, 100))
    return (random.normal(size=(count, 20)) @ axes + random.normal(0, 0.5, (count, 100))).astype(np.float32)


def draw_predictions(random: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities of an overconfident model, and labels."""
    labels = random.integers(CLASSES, size=count)
    odds = np.exp(3 * (random.normal(size=(count, CLASSES)) + 2 * np.eye(CLASSES)[labels]))
    return odds / odds.sum(axis=1, keepdims=True), labels


def fit(seed: int = 0, count: int = 400) -> Reference:
    random = np.random.default_rng(seed)
    return fit_reference(draw_features(random, 300), draw_features(random, count), *draw_predictions(random, count))


def test_ordinary_photos_are_unknown_at_the_stated_rate_and_others_always() -> None:
    random, known = np.random.default_rng(1), fit()
    ordinary, other = (
        known.ood_score(rows) for rows in (draw_features(random, 20_000), draw_features(random, 200)[:, ::-1])
    )
    for rate in (0.01, 0.05, 0.2):
        assert known.is_unknown(ordinary, rate).mean() == pytest.approx(rate, rel=0.5)
        assert known.is_unknown(other, rate).all()
    assert not known.is_unknown(known.ood_scores, 0).any()
    assert known.is_unknown(known.ood_scores, 1).sum() == len(known.ood_scores) - 1


def test_scores_of_float16_rows_do_not_depend_on_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    known, rows = fit(), draw_features(np.random.default_rng(2), 10).astype(np.float16)
    scores = known.ood_score(rows)
    monkeypatch.setattr(reference, "CHUNK", 3)
    np.testing.assert_allclose(known.ood_score(rows), scores, rtol=1e-5)
    assert known.ood_score(rows[:0]).shape == (0,)
    assert known.coordinates(rows).shape == (10, len(known.axes))


def test_an_unusual_training_photo_has_the_highest_score_out_of_fold() -> None:
    rows = draw_features(np.random.default_rng(0), 100)
    rows[17] = 0.01 * rows[17, ::-1]  # a pale one, too
    assert reference.score_out_of_fold(rows).argmax() == 17


def test_prediction_sets_contain_the_true_label_with_the_stated_coverage() -> None:
    random, known, covered = np.random.default_rng(1), fit(), []
    for seed in range(200):  # the guarantee is about the mean over validation sets
        validation, true = draw_predictions(np.random.default_rng(100 + seed), 99)
        scores = np.sort(1 - validation[np.arange(99), true])
        known = replace(known, nonconformity_scores=scores, nonconformity_labels=np.full(99, -1))
        probabilities, labels = draw_predictions(random, 500)
        sets = [known.prediction_set(probabilities, coverage) for coverage in (0.5, 0.9, 0.95, 0.99, 0.995)]
        covered.append([selected[np.arange(500), labels].mean() for selected in sets])
    np.testing.assert_allclose(np.mean(covered, axis=0), [0.5, 0.9, 0.95, 0.99, 1], atol=0.01)
    assert sets[-1].all()  # 99 validation photos are too few to leave out any label


@given(st.integers(1, 30), st.integers(0, 1000))
def test_larger_coverage_gives_larger_sets_and_a_larger_rate_a_lower_threshold(count: int, seed: int) -> None:
    probabilities, labels = draw_predictions(np.random.default_rng(seed), count)
    known = Reference.from_scores(np.arange(count) / count, probabilities, labels)
    sizes = [known.prediction_set(probabilities, coverage).sum() for coverage in np.linspace(0, 1, 7)]
    assert sizes == sorted(sizes)
    thresholds = [known.threshold(rate) for rate in np.linspace(0, 1, 7)]
    assert thresholds == sorted(thresholds, reverse=True)


def test_arrays_of_this_version_and_of_0_2_are_read_and_others_refused() -> None:
    known = fit()
    assert vars(Reference.from_arrays(vars(known), CLASSES)) == vars(known)
    old: dict[str, Any] = {"usual": known.ood_scores, "doubt": known.nonconformity_scores, "trained": known.mean}
    old |= {"mean": known.mean, "scale": known.scale, "axes": known.axes}
    read = Reference.from_arrays(old, CLASSES)
    assert read is not None
    assert set(read.nonconformity_labels) == {-1}
    assert vars(replace(read, nonconformity_labels=known.nonconformity_labels)) == vars(known)
    assert Reference.from_arrays({}, CLASSES) is None
    for name, values, message in [
        ("scale", known.scale[1:], "matching shapes"),
        ("axes", known.axes[:, 1:], "matching shapes"),
        ("nonconformity_labels", known.nonconformity_labels[1:], "matching shapes"),
        ("nonconformity_labels", known.nonconformity_labels + 1, "of 5 classes, found labels up to 5"),
        ("mean", np.full_like(known.mean, np.nan), "expected finite reference scores"),
    ]:
        with pytest.raises(SmallsetError, match=message):
            Reference.from_arrays(old | {name: values}, CLASSES)
    with pytest.raises(SmallsetError, match="of at least one photo"):
        Reference.from_arrays(old | {"usual": np.zeros(0)}, CLASSES)
