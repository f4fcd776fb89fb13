"""The comparison of models: the table, intervals, which differences are real, and which model to use."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arrays import dataset

from smallset.evaluation import comparison, metrics, significance
from smallset.evaluation.comparison import Model
from smallset.models.calibration import IDENTITY
from smallset.models.predictions import Predictions
from smallset.pipeline.errors import SmallsetError

SCORES: dict[str, Any] = {"accuracy": 0.75, "loss": 0.5, "brier": 0.2, "ece": 0.1, "ece_null_p95": 0.3, "auc": 0.8}
SCORES |= {"f1": 0.7, "n": 4}
SCORES |= {"balanced_accuracy": 0.7, "groups": 4, "low": 0.301, "high": 0.954, "val_accuracy": 0.8, "val_loss": 0.4}
SCORES |= {"baseline": 0.5, "baseline_p": 0.5, "baseline_class": "dog"}
COLUMNS = ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
ROWS = [[1, 0.5, 0.7, 0.5, 0.7], [2, 0.7, 0.5, 0.8, 0.4], [3, 0.9, 0.2, 0.75, 0.6]]
HISTORY = pd.DataFrame(ROWS, columns=COLUMNS)


NO_HISTORY = pd.DataFrame()


def answers(right: str, groups: str | None = None, probability: float = 0.9) -> pd.DataFrame:
    """Whether photos are right, from a letter for each: y or n; and their groups, likewise."""
    table = pd.DataFrame({"right": [letter == "y" for letter in right]})
    return table.assign(group=[*groups] if groups else "", predicted="", probability=probability)


def test_a_row_has_the_metrics_the_interval_and_the_kept_epoch() -> None:
    models = {"a": Model(SCORES, HISTORY, answers("")), "probe": Model(SCORES, NO_HISTORY, answers(""))}
    first, probe = comparison.compare_models(models).drop(columns=["mean", "sd", "seeds"]).to_dict("records")
    assert first == {"model": "a", **SCORES, "last_val_accuracy": pytest.approx(2.05 / 3), "epoch": 2}
    assert pd.isna([probe["epoch"], probe["last_val_accuracy"]]).all()
    curves = comparison.tidy_curves(models)
    assert curves["split"].tolist() == ["training"] * 3 + ["validation"] * 3
    assert curves.iloc[4][["model", "epoch", "accuracy", "loss"]].tolist() == ["a", 2, 0.8, 0.4]


def test_models_of_two_pipelines_are_compared_on_the_photos_that_both_have(tmp_path: Path) -> None:
    for name, skill, files in (("a", 0.9, "photos"), ("b", 0.2, "../photos")):
        photos = dataset([0, 0, 1, 1, 1], ["validation", *["test"] * 4])
        table = photos.table.assign(file=photos.table["file"].str.replace("photos", files))
        photos = replace(photos, table=table)
        photos.write(tmp_path / name / "photos.csv")
        second = np.array([0.1, 0.1, skill, skill, skill])
        predictions = Predictions(photos, np.stack([1 - second, second], axis=1), np.full(5, np.nan))
        metrics.write_evaluation(predictions, None, IDENTITY, tmp_path / name, name)
    models = comparison.read_models(tmp_path / "a", ["a"]) | comparison.read_models(tmp_path / "b", ["b"])
    comparison.write_comparison(models, tmp_path / "b", tmp_path / "plots")
    [pair] = pd.read_csv(tmp_path / "b/model_pairs.csv").to_dict("records")
    assert (pair["model"], pair["other"], pair["model_only"], pair["other_only"], pair["p"]) == ("a", "b", 3, 0, 0.25)
    assert pd.read_csv(tmp_path / "b/compare.csv")["accuracy"].tolist() == [1, 0.25]
    assert not (tmp_path / "b/runs.csv").exists()
    assert (tmp_path / "plots/compare.md").read_text().startswith("No model is recommended: a has the lowest")


def test_runs_begin_with_the_saved_model_and_need_the_same_test_photos() -> None:
    models, labels = {"a": Model(SCORES, NO_HISTORY, answers("yyyn"))}, np.array([0, 0, 1, 1])
    run = np.array([[[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]]], np.float32)  # right twice
    runs = comparison.measure_runs(models, {"a": run}, labels, 7)
    assert runs[["model", "seed", "accuracy"]].to_numpy().tolist() == [["a", 7, 0.75], ["a", 8, 0.5]]
    assert runs["brier"][1] == pytest.approx((0.01 + 0.64 + 0.01 + 0.36) / 4)
    with pytest.raises(SmallsetError, match="a.npy: expected 3 test photos, found 4. Run: dvc repro"):
        comparison.measure_runs(models, {"a": run}, labels[:3], 7)


def test_the_markdown_has_a_row_for_each_model_and_explains_each_column(tmp_path: Path) -> None:
    models = {name: Model(SCORES, NO_HISTORY, answers("y", probability=p)) for name, p in (("a", 0.9), ("b", 0.8))}
    runs = pd.DataFrame({"model": "a", "seed": [7, 8], "accuracy": [0.75, 0.5]})
    comparison.write_comparison(models, tmp_path, tmp_path, runs)
    markdown = (tmp_path / "compare.md").read_text()
    row = "0.7500 | 0.301–0.954 | 0.7000 | 0.5000 (no better) |"
    assert f"| a | {row} 0.6250 ± 0.1768 (2) | 0.400 | 0.500 | 0.100 | 0.300 |" in markdown
    assert f"| b | {row} – |" in markdown
    lines = markdown.splitlines()
    columns = next(line for line in lines if line.startswith("| model")).strip("| ").split(" | ")
    assert [line.partition(":")[0] for line in lines if line.startswith("- ")][:10] == [f"- {name}" for name in columns]
    assert "- a and b: no more than chance (0 against 0, p = 1)" in lines
    comparison.write_comparison(models, tmp_path, tmp_path)
    assert comparison.SEEDS not in (tmp_path / "compare.md").read_text()


def test_validation_selects_the_model_and_a_better_one_on_the_test_photos_is_named() -> None:
    table = pd.DataFrame({"model": ["a", "b", "c"], "accuracy": [0.75, 0.9, 0.7], "val_loss": [0.1, 0.2, 0.3]})
    table = table.assign(n=100, groups=100, low=0.5, high=0.9, balanced_accuracy=0.7)
    table = table.assign(baseline=0.5, baseline_p=1e-9, baseline_class="dog")
    right = {"a": "n" * 25 + "y" * 75, "b": "y" * 90 + "n" * 10, "c": "n" * 30 + "y" * 70}
    pairs = significance.compare_pairs({model: answers(letters) for model, letters in right.items()})
    assert comparison.select_model(table) == "a"
    assert comparison.describe_choice(table, pairs) == [
        "Use a: it has the lowest loss on the validation photos.",
        "It gets 75 of 100 test photos right: accuracy 0.750, 95 % interval 0.500–0.900, balanced accuracy 0.700.",
        "Always answering dog gets 50 right (0.500), 25 fewer than a: more than chance (p < 0.001).",
        "Right on more test photos: b 15 more (more than chance). But test photos do not select a model.",
    ]
    assert comparison.relate(pairs, "a") == {"b": "better", "c": "equal"}
    assert comparison.relate(pairs, "b") == {"a": "worse", "c": "worse"}
    assert comparison.describe_choice(table[:1], pairs[:0])[0] == "Use a: it is the only model."


def test_an_accuracy_of_0_975_on_2000_photos_is_known_to_0_7_points() -> None:
    assert significance.wilson_interval(0.975, 2000) == pytest.approx((0.9672, 0.9810), abs=1e-4)  # Wilson's formula
    assert significance.wilson_interval(1.0, 0.3)[1] == 1  # an effective number of photos may be tiny


def test_two_models_differ_when_chance_would_rarely_divide_the_photos_so() -> None:
    models = {"a": answers("y" * 10 + "n"), "b": answers("n" * 10 + "y"), "c": answers("y" * 10 + "n", probability=0.8)}
    table = significance.compare_pairs(models)
    pairs = [["a", "b", 10, 1], ["a", "c", 0, 0], ["b", "c", 1, 10]]
    assert table[["model", "other", "model_only", "other_only"]].to_numpy().tolist() == pairs
    p = 2 * 12 / 2**11  # (11 choose 0) + (11 choose 1)
    assert table["p"].tolist() == pytest.approx([p, 1, p])
    assert table["p_holm"].tolist() == pytest.approx([3 * p, 1, 3 * p])
    assert table["summary"].tolist() == [
        "a is better than b (10 against 1, p = 0.035)",
        "a and c: no more than chance (0 against 0, p = 1)",
        "c is better than b (10 against 1, p = 0.035)",
    ]


def test_holm_s_correction_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3 = 0.06, 0.022 x 2 = 0.044 but no less than 0.06, 0.9 x 1; in any order, and never above 1
    assert significance.holm([0.02, 0.9, 0.01, 0.022]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert significance.holm([0.6, 0.7]).tolist() == [1, 1]
    assert significance.holm([]).tolist() == []


def test_identical_models_are_no_tie() -> None:
    pairs = significance.compare_pairs({"probe": answers("yyn"), "tuned": answers("yyn"), "c": answers("nny")})
    assert pairs["summary"][0] == "tuned is identical to probe"
    assert pairs["p"].tolist() == pytest.approx([np.nan, 1, 1], nan_ok=True)
    assert pairs["p_holm"].isna().tolist() == [True, False, False]
    assert comparison.relate(pairs, "tuned") == {"probe": "identical", "c": "equal"}
    table = pd.DataFrame([SCORES | {"model": "probe"}, SCORES | {"model": "tuned"}])
    assert comparison.describe_choice(table, pairs)[-1] == "tuned is identical to probe."


@pytest.mark.parametrize(
    ("scores", "verdict", "reason"),
    [
        (
            {"accuracy": 100 / 138, "baseline": 104 / 138, "n": 138, "groups": 60, "baseline_p": 0.52},
            "no better than always answering dog",
            "138 test photos of 60 groups are few, so that only a large difference is more than chance; 75 % of",
        ),
        (
            {"accuracy": 0.4, "baseline": 0.5, "n": 1000, "groups": 1000, "baseline_p": 0.01},
            "worse than always answering dog",
            "Why: a has learned too little that holds for other photos.",
        ),
    ],
)
def test_a_model_that_is_not_better_than_a_constant_answer_is_not_recommended(
    scores: dict[str, float], verdict: str, reason: str
) -> None:
    row = SCORES | scores | {"model": "a"}
    advice, _, baseline, why = comparison.describe_choice(pd.DataFrame([row]), significance.compare_pairs({}))
    assert advice == f"No model is recommended: a is the only model, but it is {verdict}."
    assert ("104 right (0.754), 4 more than a: no more than chance (p = 0.52)" in baseline) == (scores["n"] == 138)
    assert reason in why
    assert verdict.startswith(comparison.format_row(row | {"seeds": None})["baseline"].partition("(")[2].rstrip(")"))


def test_photos_of_a_group_are_not_independent_evidence() -> None:
    right = np.tile([True] * 3 + [False], 25)
    alone = significance.estimate_interval(right, [""] * 100)
    assert alone == significance.wilson_interval(0.75, 100)
    assert significance.estimate_interval(right, [str(number) for number in range(100)]) == alone
    together = significance.estimate_interval(np.repeat(right, 4), np.repeat(np.arange(100), 4).astype(str).tolist())
    assert together == pytest.approx(alone, abs=0.01)  # each photo four times is no more evidence
    spread = significance.estimate_interval(right, np.repeat(np.arange(25), 4).astype(str).tolist())
    assert spread == pytest.approx(alone, abs=0.01)  # nor do groups make photos with equally many mistakes less of it
    certain = significance.estimate_interval(np.ones(100, bool), ["a"] * 50 + ["b"] * 50)
    assert certain[0] < 0.2  # two groups tell next to nothing
    assert significance.estimate_interval(right[:4], ["a"] * 4) == pytest.approx((0, 1), abs=0.02)
    assert np.isnan(significance.estimate_interval(right[:0], [])).all()


def test_the_interval_of_grouped_photos_contains_the_accuracy_in_95_percent_of_draws() -> None:
    random, groups, hits = np.random.default_rng(0), np.repeat(np.arange(40), 5).astype(str).tolist(), []
    for _ in range(400):
        right = random.uniform(size=200) < np.repeat(random.beta(4, 1, 40), 5)  # 0.8 on average
        low, high = significance.estimate_interval(right, groups)
        hits.append(low < 0.8 < high)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.025)


def test_the_paired_test_of_groups_is_mcnemar_s_for_groups_of_one_and_weaker_otherwise() -> None:
    gains = np.array([1] * 10 + [-1] * 2 + [0] * 8)
    alone = significance.compare_answers(gains, [""] * 20)
    assert alone == significance.mcnemar(10, 2)
    pair = significance.compare_answers(np.append(gains, 0), [*map(str, range(20)), "0"])  # a group of a gain and a 0
    assert pair == pytest.approx(alone)
    # Sums of 4, 4, 2 and -2: with any signs, 6 of the 16 totals are at least as far from 0 as 8
    assert significance.compare_answers(gains, [*"aaaabbbbccddeeeeeeee"]) == pytest.approx(6 / 16)
    assert significance.compare_answers(gains[12:], ["a"] * 8) == 1


def test_ways_of_training_differ_by_more_than_the_chance_of_seeds_or_not() -> None:
    accuracies = {"a": [0.90, 0.91, 0.92], "b": [0.95, 0.96, 0.97], "c": [0.89, 0.93, 0.92], "once": [0.5]}
    runs = pd.DataFrame([(model, value) for model, values in accuracies.items() for value in values])
    table = significance.compare_seeds(runs.set_axis(["model", "accuracy"], axis=1))
    assert table[["model", "other"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    # Welch by hand: t = 0.05 / sqrt(2 * 0.0001 / 3) = 6.12 with 4 degrees of freedom
    assert table["p"][0] == pytest.approx(0.0036, abs=1e-4)
    assert table["difference"].tolist() == pytest.approx([-0.05, -0.01 / 3, 0.14 / 3])
    assert table["p_holm"].tolist() == pytest.approx([3 * table["p"][0], table["p"][1], 2 * table["p"][2]])
    words = "a 0.9100 ± 0.0100 (3 seeds), b 0.9600 ± 0.0100 (3 seeds): more than the chance of seeds (p = 0.011)"
    assert table["summary"][0] == words
    assert "no more than the chance of seeds" in table["summary"][1]
    same, other = pd.Series([0.5, 0.5]), pd.Series([0.6, 0.6])  # where seeds make no difference
    assert (significance.welch(same, same), significance.welch(same, other)) == (1, 0)


def test_a_photo_that_is_there_twice_counts_once_and_names_stay_text(tmp_path: Path) -> None:
    photos = pd.DataFrame({"file": ["1", "2", "3"], "sha256": ["x", "x", "y"], "group": ""})
    rows = pd.DataFrame({"file": ["1", "2", "3"], "actual": ["7", "7", "None"], "predicted": ["7", "7", "7"]})
    rows["probability"] = 0.9
    rows.to_csv(tmp_path / "predictions.csv", index=False)
    scores = comparison.score_photos(photos, comparison.read_table(tmp_path / "predictions.csv"))
    assert scores["right"].to_dict() == {("x", "7"): True, ("y", "None"): False}
