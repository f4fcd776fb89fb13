"""Models side by side: the table, its intervals, and which differences are real."""

import numpy as np
import pandas as pd
import pytest

from smallset.evaluation import comparison, histories, significance
from smallset.pipeline.errors import SmallsetError

A = {"accuracy": 0.75, "loss": 0.5, "brier": 0.2, "ece": 0.1, "ece_noise": 0.3, "auc": 0.8, "n": 4}
A |= {"val_accuracy": 0.8, "val_loss": 0.4}
NONE = significance.over_seeds(pd.DataFrame(columns=["model", "seed", "accuracy"]))


def answers(right: str) -> pd.DataFrame:
    """A table of predictions, from a letter for each photo: y where it is right."""
    return pd.DataFrame({"actual": ["cat"] * len(right), "predicted": ["cat" if at == "y" else "dog" for at in right]})


def test_the_table_shows_the_epoch_that_was_kept_and_the_accuracy_s_interval(history: pd.DataFrame) -> None:
    none = comparison.runs({"a": A}, {}, np.zeros(4, np.int64), 7)
    table = comparison.table({"a": A}, {"a": history}, none).drop(columns=["mean", "sd", "seeds"])
    [row] = table.to_dict("records")
    low, high = row.pop("low"), row.pop("high")
    assert row == {"model": "a", **A, "last_val_accuracy": pytest.approx(2.05 / 3), "epoch": 2}
    assert low < 0.75 < high


def test_the_table_for_people_has_eight_columns_and_says_what_they_are(history: pd.DataFrame) -> None:
    labels = np.array([0, 0, 1, 1])
    half = np.array([[[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]]])  # of one run, right twice in four
    runs = comparison.runs({"a": A, "b": A}, {"a": half}, labels, 7)
    assert runs[["model", "seed", "accuracy"]].to_numpy().tolist() == [["a", 7, 0.75], ["a", 8, 0.5]]
    assert runs.brier[1] == pytest.approx((0.01 + 0.64 + 0.01 + 0.36) / 4)
    table = comparison.table({"a": A, "b": A}, {"a": history, "b": history}, runs)
    text = comparison.markdown(table, significance.pairs({"a": answers("y"), "b": answers("y")}), NONE)
    assert "| a | 0.7500 | 0.301–0.954 | 0.6250 ± 0.1768 (2) | 0.400 | 0.500 | 0.100 | 0.300 |" in text
    assert "| b | 0.7500 | 0.301–0.954 | – |" in text
    head = next(line for line in text.splitlines() if line.startswith("| model"))
    names = [name.strip() for name in head.strip("|").split("|")]
    assert len(names) == 8
    assert [line.partition(":")[0] for line in text.splitlines() if line.startswith("- ")][:8] == [
        f"- {n}" for n in names
    ]


def models(**of_models: tuple[float, float]) -> pd.DataFrame:
    """A table of models by accuracy on 100 test photos and loss on the validation photos."""
    rows = [(name, accuracy, 100, 0.5, 0.9, loss) for name, (accuracy, loss) in of_models.items()]
    return pd.DataFrame(rows, columns=["model", "accuracy", "n", "low", "high", "val_loss"])


def test_the_model_to_take_is_chosen_by_validation_and_a_better_one_on_the_test_photos_is_named() -> None:
    table = models(a=(0.75, 0.1), b=(0.9, 0.2), c=(0.7, 0.3))
    answered = {"a": answers("n" * 15 + "y" * 75), "b": answers("y" * 90), "c": answers("n" * 16 + "y" * 74)}
    assert comparison.best(table) == "a"
    pairs = significance.pairs(answered)
    assert comparison.choice(table, pairs) == [
        "Take a: it has the lowest loss on the validation photos.",
        "It gets 75 of 100 test photos right: accuracy 0.750, 95 % interval 0.500–0.900.",
        "Right on more test photos: b 15 more (more than chance); but these measure, they do not choose.",
    ]
    assert comparison.rivals(pairs, "a", real=True) == ["b"]
    assert comparison.rivals(pairs, "a", real=False) == ["c"]
    assert comparison.choice(models(a=(0.75, 0.1)), pairs[:0])[0] == "Take a: there is no other."


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
    p = 2 * 12 / 2**11  # (11 choose 0) + (11 choose 1)
    assert table.p.tolist() == pytest.approx([p, 1, p])
    assert table.adjusted.tolist() == pytest.approx([3 * p, 1, 3 * p])
    assert table.words.tolist() == [
        "a is better than b (10 against 1, p = 0.035)",
        "a and c: no more than chance (0 against 0, p = 1)",
        "c is better than b (10 against 1, p = 0.035)",
    ]


def test_holm_s_correction_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3 = 0.06, 0.022 x 2 = 0.044 but no less than 0.06, 0.9 x 1; in any order, and never above 1
    assert significance.holm([0.02, 0.9, 0.01, 0.022]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert significance.holm([0.6, 0.7]).tolist() == [1, 1]
    assert significance.holm([]).tolist() == []


def test_over_seeds_ways_of_training_differ_by_more_than_the_luck_of_a_seed_or_not() -> None:
    accuracies = {"a": [0.90, 0.91, 0.92], "b": [0.95, 0.96, 0.97], "c": [0.89, 0.93, 0.92], "once": [0.5]}
    runs = pd.DataFrame([(name, seed, one) for name, several in accuracies.items() for seed, one in enumerate(several)])
    table = significance.over_seeds(runs.set_axis(["model", "seed", "accuracy"], axis=1))
    assert table[["model", "other"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    # Welch by hand: t = 0.05 / sqrt(2 * 0.0001 / 3) = 6.12 with 4 degrees of freedom
    assert table.p[0] == pytest.approx(0.0036, abs=1e-4)
    assert table.difference.tolist() == pytest.approx([-0.05, -0.01 / 3, 0.14 / 3])
    assert table.adjusted.tolist() == pytest.approx([3 * table.p[0], table.p[1], 2 * table.p[2]])
    assert table.words[0] == (
        "a and b: 0.9100 ± 0.0100 (3 seeds) against 0.9600 ± 0.0100 (3 seeds), more than the luck of a seed (p = 0.011)"
    )
    assert "no more than the luck of a seed" in table.words[1]


def test_where_no_seed_makes_a_difference_the_means_are_certain() -> None:
    assert significance.welch(pd.Series([0.5, 0.5]), pd.Series([0.5, 0.5])) == 1
    assert significance.welch(pd.Series([0.5, 0.5]), pd.Series([0.6, 0.6])) == 0


def test_curves_are_tidy(history: pd.DataFrame) -> None:
    curves = histories.curves({"a": history, "b": history})
    assert len(curves) == 2 * 2 * 3
    row = curves[(curves.model == "b") & (curves.split == "validation") & (curves.epoch == 2)]
    assert row[["accuracy", "loss"]].to_numpy().tolist() == [[0.8, 0.4]]
