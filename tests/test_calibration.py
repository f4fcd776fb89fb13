"""Scores of probabilities, against values by hand and against drawn labels that bear them out."""

import numpy as np
import pytest

from smallset.evaluation import calibration

RANDOM = np.random.default_rng(0)
DOG = RANDOM.uniform(size=30_000)
PROBABILITY = np.stack([1 - DOG, DOG], axis=1)
LABELS = (RANDOM.uniform(size=len(DOG)) < DOG).astype(np.int64)


def test_probabilities_that_mean_what_they_say_have_no_calibration_error() -> None:
    assert calibration.ece(LABELS, PROBABILITY) < 0.01
    table = calibration.reliability(LABELS, PROBABILITY)
    assert table.n.tolist() == [2000] * calibration.BINS
    np.testing.assert_allclose(table.accuracy, table.confidence, atol=0.04)


def test_a_model_that_is_too_sure_has_the_error_of_its_confidence() -> None:
    sure = np.array([[1.0, 0.0]] * 10)
    assert calibration.ece(np.arange(10) % 2, sure) == 0.5
    assert calibration.brier(np.arange(10) % 2, sure) == 0.5
    assert calibration.ece(np.arange(10) % 2, np.full((10, 2), 0.5)) == 0  # knows nothing, and says so


def test_the_brier_score_of_three_classes_is_half_the_sum_over_them() -> None:
    probability = np.array([[0.7, 0.2, 0.1]])
    assert calibration.brier(np.array([0]), probability) == pytest.approx((0.3**2 + 0.2**2 + 0.1**2) / 2)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_temperature_is_undone(temperature: float) -> None:
    logits = np.array([[0.0, 1.5], [0.0, -4.0]])
    before, after = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (logits, logits / temperature))
    np.testing.assert_allclose(calibration.undone(after, temperature), before)
    sides = calibration.both(after, temperature)
    table = calibration.scores(np.array([1, 0]), sides, temperature).set_index("when")
    assert table.temperature.to_dict() == {"before": 1, "after": temperature}
    assert table.accuracy.tolist() == [1, 1]
    assert list(calibration.both(after, 1.0)) == ["after"]


def test_95_percent_of_models_that_mean_what_they_say_are_below_the_noise() -> None:
    probability, random = PROBABILITY[:300], np.random.default_rng(2)
    noise = calibration.noise(probability)
    drawn = [(random.uniform(size=300) < DOG[:300]).astype(np.int64) for _ in range(1000)]
    below = np.mean([calibration.ece(labels, probability) < noise for labels in drawn])
    assert below == pytest.approx(0.95, abs=0.03)
    assert calibration.noise(PROBABILITY) < noise / 5  # of a hundred times as many photos
    assert calibration.noise(probability) == noise
