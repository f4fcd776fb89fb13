"""Sentences on the learning curve, cross-validation and corrections, one for each case."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from smallset.reports import insights


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.009, 0.015, "More photos would help: "),
        (0.009, 0.017, "It is uncertain whether more photos would help: "),
        (0.0153, 0.017, "More photos of the same kind would hardly help: "),
    ],
)
def test_the_learning_curve_tells_whether_more_photos_would_help(low: float, high: float, expected: str) -> None:
    rows = [[200, 5, 0.03, np.nan, np.nan], [400, 1, 0.017, np.nan, np.nan], [800, 0, np.nan, low, high]]
    table = pd.DataFrame(rows, columns=["photos", "draws", "error", "low", "high"])
    forecast = f"a validation accuracy of {1 - high:.3f} to {1 - low:.3f}; now it has 0.983."
    words = insights.describe_learning_curve(table)
    assert words.startswith(expected)
    assert words.endswith(forecast)
    assert "400 training photos are too few to tell" in insights.describe_learning_curve(table[:2])
    assert insights.describe_learning_curve(pd.DataFrame()) == ""


def test_cross_validation_is_preferred_to_few_test_photos() -> None:
    row: dict[Any, Any] = {"model": "linear_probe", "accuracy": 0.85, "low": 0.757, "high": 0.912, "n": 80}
    assert (
        insights.describe_cross_validation(row)
        == insights.describe_cross_validation(row | {"cv_accuracy": np.nan})
        == ""
    )
    words = insights.describe_cross_validation(
        row | {"cv_accuracy": 0.88, "cv_low": 0.84, "cv_high": 0.911, "cv_photos": 398}
    )
    assert "On 80 of them linear_probe has the accuracy 0.850 (95 % interval 0.757–0.912)" in words
    assert "over all 398 photos gives 0.880 (0.840–0.911). Prefer the latter" in words


def test_corrections_of_test_photos_are_named() -> None:
    none = {"relabeled": 0, "left_out": 0}
    corrections = {"train": {"relabeled": 3, "left_out": 1}, "validation": none, "test": none}
    assert insights.describe_corrections({}) == ""
    words = insights.describe_corrections(corrections)
    assert words == "corrections.csv changed the labels of 3 photos and left out 1. None of them is a test photo."
    words = insights.describe_corrections(corrections | {"test": {"relabeled": 2, "left_out": 0}})
    assert words.startswith("corrections.csv changed the labels of 5 photos")
    assert "2 of them are test photos, so earlier accuracies were measured with other labels." in words
