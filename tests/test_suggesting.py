"""What to label next: doubtful photos and unknown ones first, and no photo beside its near duplicates."""

import numpy as np

from smallset.cli import suggesting
from smallset.cli.prediction import Answer
from smallset.models.limits import Limits

FLAT = np.zeros((1, 1), np.float32)
LIMITS = Limits(FLAT[0], FLAT[0], FLAT, np.linspace(0, 1, 9), np.zeros(9), np.zeros(3))


def answer(path: str, cat: float, unlikeness: float, at: np.ndarray, error: str = "") -> Answer:
    return Answer(path, np.array([cat, 1 - cat]), error, unlikeness, at)


def test_near_duplicates_of_a_doubtful_photo_do_not_fill_the_list() -> None:
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(30, 30)))[0]
    burst = [answer(f"burst {n}", 0.5, 0.5, axes[0] + random.normal(0, 0.01, 30)) for n in range(20)]
    others = [answer(f"other {n}", 0.7, 0.5, axes[n + 1]) for n in range(5)]
    sure = [answer(f"sure {n}", 0.99, 0.1, axes[n + 10]) for n in range(5)]
    broken = answer("broken", 0.5, 5, axes[29], "does not decode")
    found = [one.path for one in suggesting.suggest([*sure, *burst, broken, *others], LIMITS, 8)]
    assert found[0].startswith("burst")
    assert sorted(found[1:6]) == [f"other {n}" for n in range(5)]
    assert found[6].startswith("sure")
    assert len({one.path for one in suggesting.suggest([*burst, *sure], LIMITS, 99)}) == 25


def test_doubt_and_unlikeness_both_count() -> None:
    rows = np.eye(3)
    given = [answer("sure", 0.95, 0.1, rows[0]), answer("unlike", 0.95, 9, rows[1]), answer("doubt", 0.5, 0.1, rows[2])]
    assert [one.path for one in suggesting.suggest(given, LIMITS, 2)] == ["doubt", "unlike"]
    assert suggesting.suggest([], LIMITS, 5) == []
