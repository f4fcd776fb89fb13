"""Models side by side: the table, its intervals, and which differences are real."""

from pathlib import Path

import pandas as pd
import pytest

from smallset import comparison, histories, significance

A = {"accuracy": 0.75, "loss": 0.5, "auc": 0.8, "n": 4}


def answers(right: str) -> pd.DataFrame:
    """A table of predictions, from a letter for each photo: y where it is right."""
    return pd.DataFrame({"actual": ["cat"] * len(right), "predicted": ["cat" if at == "y" else "dog" for at in right]})


def test_the_table_shows_the_epoch_that_was_kept_and_the_accuracy_s_interval(
    tmp_path: Path, history: pd.DataFrame
) -> None:
    none = comparison.read_runs(tmp_path, ["a"])
    table = comparison.table({"a": A}, {"a": history}, none).drop(columns=["mean", "sd", "seeds"])
    [row] = table.to_dict("records")
    low, high = row.pop("low"), row.pop("high")
    assert row == {"model": "a", **A, "val_accuracy": 0.8, "last_val_accuracy": pytest.approx(2.05 / 3), "epoch": 2}
    assert low < 0.75 < high
    text = comparison.markdown(table, significance.pairs({"a": answers("yyyn")}))
    assert "| a | 0.7500 | 0.3006 | 0.9544 | 0.5000 | 0.8000 | 4 | 0.8000 | 0.6833 | 2 |" in text


def test_the_table_shows_mean_and_deviation_over_seeds(tmp_path: Path, history: pd.DataFrame) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/runs.csv").write_text("seed,accuracy\n1,0.7\n2,0.8\n")
    table = comparison.table({"a": A, "b": A}, {"a": history, "b": history}, comparison.read_runs(tmp_path, ["a", "b"]))
    text = comparison.markdown(table, significance.pairs({"a": answers("y")}))
    assert "| 2 | 0.7500 | 0.0707 | 2 |" in text
    assert "| 2 |  |  |  |" in text


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


def test_curves_are_tidy(history: pd.DataFrame) -> None:
    curves = histories.curves({"a": history, "b": history})
    assert len(curves) == 2 * 2 * 3
    row = curves[(curves.model == "b") & (curves.split == "validation") & (curves.epoch == 2)]
    assert row[["accuracy", "loss"]].to_numpy().tolist() == [[0.8, 0.4]]
