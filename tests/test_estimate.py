"""The estimate of a run's duration grows with the photos, and says no more than it can know."""

from typing import Any

import pytest

from smallset.cli import estimate, init
from smallset.datasets.dataset import Dataset
from smallset.pipeline import params

COUNTS = {"train": 60, "validation": 20, "test": 20}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (3, 50, "about 1 minute"),
        (70, 130, "1 to 2 minutes"),
        (900, 5300, "15 to 88 minutes"),
        (3e3, 9e3, "1 to 2 hours"),
    ],
)
def test_durations_are_rounded(low: float, high: float, expected: str) -> None:
    assert estimate.describe(low, high) == expected


def test_more_and_larger_photos_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    p = params.read(init.TEMPLATE / "params.yaml")
    monkeypatch.setattr(estimate, "describe", lambda low, high: (low, high))
    monkeypatch.setattr(estimate, "measure_speed", lambda: estimate.SPEED)

    def seconds(side: int, factor: int, minutes: float | None = None) -> tuple[float, float]:
        counts = {split: factor * count for split, count in COUNTS.items()}
        limited = p.model_copy(update={"fine_tune": p.fine_tune.model_copy(update={"minutes": minutes})})
        times: Any = estimate.estimate(0.001, [side], counts, limited)  # not in words here
        return float(times[0]), float(times[1])

    few, more, larger = seconds(200, 1), seconds(200, 100), seconds(600, 100)
    assert estimate.START / 2 < few[0] < more[0] < more[1] < larger[1]
    assert more[1] / more[0] == pytest.approx(estimate.MARGIN**2)  # photos of 200 px leave one image size
    assert larger[1] / larger[0] > 2 * estimate.MARGIN**2
    training = p.fine_tune.epochs * 100 * COUNTS["train"] * estimate.TRAINING
    assert more[0] - seconds(200, 100, minutes=1)[0] == pytest.approx((training - 60) / estimate.MARGIN)


def test_a_sample_has_times_sides_and_errors(drawn: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn.paths[3].write_bytes(b"not a photo")
    seconds, sides, errors = estimate.decode(drawn)
    assert 0 < seconds < 1
    assert (sides, list(errors)) == ([80] * 9, [drawn.table["file"][3]])
    monkeypatch.setattr(estimate, "SECONDS", 0)
    assert estimate.decode(drawn)[1] == [80]
