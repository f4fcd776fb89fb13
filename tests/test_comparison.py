"""Models side by side: the table, its intervals, and which differences are real."""

import numpy as np
import pandas as pd
import pytest

from smallset.measures import comparison, histories, significance
from smallset.pipeline.errors import SmallsetError

A = {"accuracy": 0.75, "loss": 0.5, "brier": 0.2, "ece": 0.1, "auc": 0.8, "n": 4}


def answers(right: str) -> pd.DataFrame:
    """A table of predictions, from a letter for each photo: y where it is right."""
    return pd.DataFrame({"actual": ["cat"] * len(right), "predicted": ["cat" if at == "y" else "dog" for at in right]})


def test_the_table_shows_the_epoch_that_was_kept_and_the_accuracy_s_interval(history: pd.DataFrame) -> None:
    none = comparison.runs({"a": A}, {}, np.zeros(4, np.int64), 7)
    table = comparison.table({"a": A}, {"a": history}, none).drop(columns=["mean", "sd", "seeds"])
    [row] = table.to_dict("records")
    low, high = row.pop("low"), row.pop("high")
    assert row == {"model": "a", **A, "val_accuracy": 0.8, "last_val_accuracy": pytest.approx(2.05 / 3), "epoch": 2}
    assert low < 0.75 < high
    text = comparison.markdown(table, significance.pairs({"a": answers("yyyn")}))
    assert "| a | 0.7500 | 0.3006 | 0.9544 | 0.5000 | 0.2000 | 0.1000 | 0.8000 | 4 | 0.8000 | 0.6833 | 2 |" in text


def test_the_table_shows_mean_and_deviation_over_seeds(history: pd.DataFrame) -> None:
    labels = np.array([0, 0, 1, 1])
    half = np.array([[[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]]])  # of one run, right twice in four
    runs = comparison.runs({"a": A, "b": A}, {"a": half}, labels, 7)
    assert runs[["model", "seed", "accuracy"]].to_numpy().tolist() == [["a", 7, 0.75], ["a", 8, 0.5]]
    assert runs.brier[1] == pytest.approx((0.01 + 0.64 + 0.01 + 0.36) / 4)
    text = comparison.markdown(
        comparison.table({"a": A, "b": A}, {"a": history, "b": history}, runs), significance.pairs({"a": answers("y")})
    )
    assert "| 2 | 0.6250 | 0.1768 | 2 |" in text
    assert "| 2 |  |  |  |" in text


def test_runs_on_other_test_photos_are_refused() -> None:
    with pytest.raises(SmallsetError, match="expected probabilities of 4 test photos, found 3. Run: dvc repro"):
        comparison.runs({"a": A}, {"a": np.full((1, 3, 2), 0.5)}, np.zeros(4, np.int64), 7)


def test_an_accuracy_of_0_975_on_2000_photos_carries_0_7_points() -> None:
    assert significance.interval(0.975, 2000) == pytest.approx((0.9672, 0.9810), abs=1e-4)  # Wilson's formula by hand


def test_a_pair_differs_where_chance_would_rarely_divide_the_photos_so() -> None:
    predictions = {"a": answers("y" * 10 + "n"), "b": answers("n" * 10 + "y"), "c": answers("y" * 10 + "n")}
    table = significance.pairs(predictions)
    assert table[["model", "other", "model_only", "other_only"]].to_numpy().tolist() == [
        ["a", "b", 10, 1],
        ["a", "c", 0, 0],
        ["b", "c", 1, 10],
    ]
    assert table.p.tolist() == pytest.approx([2 * 12 / 2**11, 1, 2 * 12 / 2**11])  # (11 choose 0) + (11 choose 1)
    assert table.words.tolist() == [
        "a is better than b: right on 10 photos where it is wrong, wrong on 1 (p = 0.012)",
        "a and c: no more than chance (0 photos against 0, p = 1)",
        "c is better than b: right on 10 photos where it is wrong, wrong on 1 (p = 0.012)",
    ]


def test_the_best_of_equal_ones_has_the_lower_loss() -> None:
    table = pd.DataFrame({"model": ["a", "b", "c"], "accuracy": [0.9, 0.95, 0.95], "loss": [0.1, 0.3, 0.2]})
    assert comparison.best(table) == "c"


def test_curves_are_tidy(history: pd.DataFrame) -> None:
    curves = histories.curves({"a": history, "b": history})
    assert len(curves) == 2 * 2 * 3
    row = curves[(curves.model == "b") & (curves.split == "validation") & (curves.epoch == 2)]
    assert row[["accuracy", "loss"]].to_numpy().tolist() == [[0.8, 0.4]]
