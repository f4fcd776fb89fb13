"""What holds for every class, also for rare ones and with few photos, on features from a known distribution."""

import arrays
import numpy as np
import pytest
from numpy.typing import NDArray

from smallset.evaluation import cross_validation, metrics
from smallset.features.store import Features
from smallset.models.calibration import IDENTITY
from smallset.models.reference import MIN_PHOTOS, Reference
from smallset.training.linear_probe import LinearProbe

SPLITS = ["train", "validation", "test"]
TEST, DRAWS, COVERAGE = 5000, 5, 0.95


def draw(shares: list[float], seed: int, counts: tuple[int, int] = (660, 220)) -> Features:
    """Photos of classes with these shares, of which the last one is the rare one."""
    random = np.random.default_rng(seed)
    numbers = [*counts, TEST]
    labels = random.choice(len(shares), sum(numbers), p=np.array(shares) / sum(shares))
    return arrays.separable(arrays.dataset(labels, np.repeat(SPLITS, numbers)), 4, seed, dimensions=200)


def measure(features: Features, **options: object) -> tuple[LinearProbe, NDArray[np.float64], NDArray[np.float64]]:
    """The probe, the probabilities of the test photos, and the share of each class whose prediction set is right."""
    probe = LinearProbe(C=[0.001, 0.01, 0.1], **options).fit(features)  # type: ignore[arg-type]
    assert probe.held_out_ is not None
    reference = Reference.from_scores(np.ones(1), *probe.held_out_)
    probabilities = probe.predict_proba(features.of("test"))
    table = metrics.per_class(features.dataset.test, probabilities, reference)
    return probe, probabilities, table["covered"].to_numpy()


@pytest.mark.parametrize("shares", [[10, 1], [10, 10, 10, 10, 10, 1]])
def test_sets_cover_each_class_and_probabilities_match_the_shares_at_ten_to_one(shares: list[float]) -> None:
    covered, ratios, calibrating = [], [], []
    for seed in range(DRAWS):
        features = draw(shares, seed, (1320, 440))
        probe, probabilities, shares_covered = measure(features)
        covered.append(shares_covered)
        ratios.append(probabilities[:, -1].mean() / (features.dataset.test.labels == len(shares) - 1).mean())
        calibrating.append(np.bincount(probe.held_out_[1]))  # type: ignore[index]
    counts = np.mean(calibrating, axis=0)
    assert counts.min() > MIN_PHOTOS
    errors = np.sqrt(COVERAGE * (1 - COVERAGE) * (1 / counts + len(shares) / TEST) / DRAWS)
    assert (np.mean(covered, axis=0) > COVERAGE - 3 * errors).all()
    assert (np.mean(covered, axis=0) < COVERAGE + 3 * errors + 1 / counts).all()
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)


def test_a_class_prior_moves_probabilities_and_decisions_but_not_the_coverage() -> None:
    features = draw([10, 1], 0)
    rare = features.dataset.test.labels == 1
    results = {str(prior): measure(features, class_prior=prior) for prior in ("training", "equal", {"a": 1, "b": 9})}
    recalls = [(probabilities.argmax(axis=1) == 1)[rare].mean() for _, probabilities, _ in results.values()]
    assert recalls == sorted(recalls)
    assert recalls[1] > recalls[0] + 0.1
    np.testing.assert_allclose([covered for *_, covered in results.values()], [results["training"][2]] * 3)
    balanced = results["equal"][1][:, 1]
    assert np.mean([balanced[rare].mean(), balanced[~rare].mean()]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_five_photos_per_class_give_a_model_and_an_estimate_that_is_not_too_good(classes: int) -> None:
    accuracies, intervals = [], []
    for seed in range(4):
        random = np.random.default_rng(seed)
        labels = np.concatenate([np.repeat(np.arange(classes), 5), random.integers(classes, size=TEST)])
        splits = np.append(np.tile(["train", "train", "train", "validation", "test"], classes), ["test"] * TEST)
        splits[3] = "train"  # the first class has no validation photo
        every = arrays.separable(arrays.dataset(labels, splits), 6, seed, dimensions=100)
        few, others = every.dataset.take(np.arange(5 * classes)), every.values[5 * classes :].astype(np.float32)
        features = Features(few, every.values[: 5 * classes], None, every.thumbnails[: 5 * classes], every.metadata)
        probe = LinearProbe(C=[0.01, 0.1]).fit(features)
        accuracies.append((probe.predict(others) == labels[5 * classes :]).mean())
        row = cross_validation.cross_validate(features, probe.C_, "balanced", IDENTITY, seed)
        intervals.append((row["cv_low"], row["cv_high"]))
        assert row["cv_photos"] == 5 * classes
    inside = [low <= accuracy <= high for accuracy, (low, high) in zip(accuracies, intervals, strict=True)]
    assert sum(inside) >= 3
