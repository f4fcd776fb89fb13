"""Sentences on more photos and on cross-validation, each for its case."""

import numpy as np
import pandas as pd
import pytest

from smallset.reports import insights


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.009, 0.015, "More photos would help: with twice the training photos linear would get 0.985 to 0.991 of"),
        (
            0.009,
            0.017,
            "Whether more photos would help, these do not tell: with twice the training photos linear",
        ),
        (0.0155, 0.017, "More photos of the same kind would hardly help: with twice the training photos linear would"),
    ],
)
def test_whether_more_photos_would_help(low: float, high: float, expected: str) -> None:
    nothing = [np.nan, np.nan]
    rows = [[200, 5, 0.03, *nothing], [400, 1, 0.017, *nothing], [800, 0, np.nan, low, high]]
    table = pd.DataFrame(rows, columns=["photos", "draws", "error", "low", "high"])
    words = insights.more_photos(table)
    assert words.startswith(expected)
    assert words.endswith(" of the validation photos right, now 0.983.")
    assert insights.more_photos(table[:2]) == "400 training photos are too few to tell whether more would help."


def test_cross_validation_says_what_to_believe() -> None:
    found = pd.DataFrame([{"model": "linear", "accuracy": 0.88, "low": 0.84, "high": 0.911, "photos": 398}])
    models = pd.DataFrame(
        {"model": ["linear", "pooled"], "accuracy": [0.85, 0.9], "low": [0.757, 0.8], "high": [0.912, 0.95], "n": 80}
    )
    words = insights.crossed(found, models)
    assert insights.crossed(found[:0], models) == insights.more_photos(pd.DataFrame()) == ""
    assert "gets 0.850 of 80 right, 95 % interval 0.757–0.912. By cross-validation over all 398 photos" in words
    assert "For linear believe the latter" in words


def test_corrections_are_told_and_those_of_test_photos_apart() -> None:
    none = {"relabelled": 0, "left_out": 0}
    counts = {"train": {"relabelled": 3, "left_out": 1}, "validation": none, "test": none}
    assert insights.corrected({"left_out": {}}) == ""
    words = insights.corrected({"corrections": {"photos": counts}})
    assert words.startswith("By corrections.csv 3 photos have another label than their folder's, and 1 are left out;")
    assert words.endswith("none of them is a test photo.")
    words = insights.corrected({"corrections": {"photos": counts | {"test": {"relabelled": 2, "left_out": 0}}}})
    assert "5 photos" in words
    assert "of the test photos 2 and 0, so an accuracy before" in words
