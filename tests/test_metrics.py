"""Metrics against values by hand, and calibration against labels that are drawn from the probabilities."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arrays import dataset
from numpy.typing import NDArray

from smallset.evaluation import comparison, metrics, significance
from smallset.models.calibration import Scaling
from smallset.models.predictions import Predictions
from smallset.models.reference import Reference
from smallset.pipeline.errors import SmallsetError

LABELS = np.array([0, 0, 1, 1])
SECOND = np.array([0.1, 0.6, 0.4, 0.9])
RANDOM = np.random.default_rng(0)
DRAWN = RANDOM.uniform(size=30_000)  # P(second class) of a perfectly calibrated model
DRAWN_LABELS = (RANDOM.uniform(size=len(DRAWN)) < DRAWN).astype(np.int64)


def two(second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of two classes."""
    return np.stack([1 - second, second], axis=1)


def test_metrics_of_four_photos() -> None:
    results = metrics.measure(LABELS, two(SECOND))
    assert results.pop("ece_null_p95") == round(metrics.ece_null_p95(LABELS, two(SECOND)), 6)
    loss, brier = -np.log([0.9, 0.4, 0.4, 0.9]).mean(), (0.1**2 + 0.6**2 + 0.6**2 + 0.1**2) / 4
    expected = {
        "accuracy": 0.5,
        "loss": loss,
        "brier": brier,
        "ece": 0.35,
        "auc": 0.75,
        "f1": 0.5,
        "n": 4,
        "balanced_accuracy": 0.5,
    }
    assert results == pytest.approx(expected, abs=1e-6)
    corners = metrics.roc(dataset(LABELS), two(SECOND))[["false_positive_rate", "true_positive_rate"]].to_numpy()
    assert corners[[0, -1]].tolist() == [[0, 0], [1, 1]]
    assert (np.diff(corners, axis=0) >= 0).all()


def test_metrics_of_three_classes() -> None:
    labels, photos = np.array([0, 0, 1, 2]), dataset([0, 0, 1, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]])
    results = metrics.measure(labels, probabilities)
    assert results["loss"] == pytest.approx(-np.log([0.8, 0.1, 0.7, 0.6]).mean(), abs=1e-6)
    assert results["auc"] == pytest.approx((0.625 + 2 / 3 + 1) / 3, abs=1e-6)
    assert metrics.measure(np.array([0]), np.array([[0.7, 0.2, 0.1]]))["brier"] == pytest.approx(0.14 / 2)
    rows = metrics.per_class(photos, probabilities)
    assert rows["class"].tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(rows[["precision", "recall", "n"]].T, np.array([[1, 0.5, 1], [0.5, 1, 1], [2, 1, 1]]))
    assert rows["f1"].mean() == pytest.approx(results["f1"], abs=1e-6)
    assert set(metrics.roc(photos, probabilities)["class"]) == {"a", "b", "c"}


def test_a_rare_class_counts_as_much_as_a_frequent_one_and_a_constant_answer_is_the_baseline() -> None:
    photos = dataset([0] * 12 + [1] * 4 + [2], ["train"] * 2 + ["test"] * 15, [*"xyaaaaabbbbbccccd"])
    constant = np.tile([0.8, 0.1, 0.1], (15, 1))
    results = metrics.measure_photos(photos.test, constant, photos.train)
    assert (results["accuracy"], results["baseline"]) == pytest.approx((10 / 15, 10 / 15), abs=1e-6)
    assert results["balanced_accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert (results["baseline_class"], results["baseline_p"], results["n"], results["groups"]) == ("a", 1, 15, 4)
    assert results["low"] < significance.wilson_interval(10 / 15, 15)[0]  # groups are right or wrong together
    perfect = metrics.measure_photos(photos.test, np.eye(3)[photos.test.labels], photos.train)
    assert perfect["baseline_p"] == 0.5  # only two groups differ: both signs of two, of four
    ungrouped = metrics.measure_photos(dataset([0] * 10 + [1] * 6), np.eye(2)[[0] * 10 + [1] * 6])
    assert ungrouped["baseline_p"] == pytest.approx(2 / 2**6)
    rows = metrics.per_class(photos.test, constant)
    assert rows["recall"].tolist() == [1, 0, 0]
    assert (rows["recall_low"] <= rows["recall"]).all()
    assert (rows["recall_high"] >= rows["recall"]).all()
    absent = metrics.per_class(photos.test.take(range(10)), constant[:10])
    assert absent["recall_low"].isna().tolist() == [False, True, True]


def test_extreme_probabilities() -> None:
    assert metrics.loss(LABELS, np.eye(2)[[1, 0, 0, 1]]) == pytest.approx(-np.log(1e-7) / 2, abs=1e-5)  # not infinity
    assert metrics.auc(LABELS[:2], two(SECOND[:2])) is None  # without photos of one class
    tiny = np.array([1e-30, 1e-20, 1e-25, 0.9])  # 1 - p is the same for the first three
    assert metrics.auc(LABELS, two(tiny)) == 0.75


def test_the_ece_is_small_for_reliable_probabilities_and_large_for_overconfident_ones() -> None:
    assert metrics.ece(DRAWN_LABELS, two(DRAWN)) < 0.01
    table = metrics.reliability(DRAWN_LABELS, two(DRAWN))
    assert table["n"].tolist() == [2000] * metrics.BINS
    np.testing.assert_allclose(table["accuracy"], table["confidence"], atol=0.04)
    labels = np.arange(10) % 2
    assert [metrics.ece(labels, two(np.full(10, p))) for p in (0.0, 0.5)] == [0.5, 0]


def test_95_percent_of_perfectly_calibrated_models_have_a_smaller_ece() -> None:
    few, random = DRAWN[:300], np.random.default_rng(2)
    limit = metrics.ece_null_p95(LABELS, two(few))
    labels = [(random.uniform(size=300) < few).astype(np.int64) for _ in range(300)]
    assert np.mean([metrics.ece(drawn, two(few)) < limit for drawn in labels]) == pytest.approx(0.95, abs=0.04)
    assert metrics.ece_null_p95(LABELS, two(DRAWN)) < limit / 5  # of a hundred times as many photos


def test_a_metric_is_added_in_one_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    certain = metrics.Metric(lambda _, p: (p.max(axis=1) > 0.8).mean(), "certain", "certain predictions", ".1f")
    monkeypatch.setitem(metrics.METRICS, "certain", certain)
    write(tmp_path, None)
    [row] = comparison.compare_models(comparison.read_models(tmp_path, ["model"])).to_dict("records")
    assert comparison.format_row(row)["certain"] == "0.5"


def write(folder: Path, reference: Reference | None, temperature: float = 1.0, **more: float) -> None:
    """Write an evaluation of four validation and four test photos, beside a training photo."""
    photos = dataset([0, *LABELS, *LABELS], ["train", *["validation"] * 4, *["test"] * 4])
    photos.write(folder / "photos.csv")
    second = np.array([0.5, *SECOND[::-1], *SECOND])
    predictions = Predictions(photos, two(second), np.array([9.0, 1, 2, 3, 4, 1, 5, 2, 3]))
    scaling = Scaling(temperature, np.zeros(2))
    metrics.write_evaluation(predictions, reference, scaling, folder, "model", **more)


def test_the_files_of_an_evaluation(tmp_path: Path) -> None:
    write(tmp_path, None, cv_accuracy=0.8)
    results = json.loads((tmp_path / "model.json").read_text())
    assert (results["accuracy"], results["val_accuracy"], results["n"], results["cv_accuracy"]) == (0.5, 0.5, 4, 0.8)
    assert results["val_loss"] == pytest.approx(-np.log([0.1, 0.6, 0.6, 0.1]).mean(), abs=1e-6)
    assert "unknown" not in results
    names = {path.stem for path in (tmp_path / "model").iterdir()}
    assert names == {"calibration", "reliability", "per_class", "predictions", "roc"}
    rows = pd.read_csv(tmp_path / "model/predictions.csv")
    assert rows["file"].tolist() == ["photos/a/5.jpg", "photos/a/6.jpg", "photos/b/7.jpg", "photos/b/8.jpg"]
    assert [*rows["actual"], *rows["predicted"]] == [*"aabb", *"abab"]
    assert rows["probability"].tolist() == pytest.approx([0.9, 0.6, 0.6, 0.9])


def test_a_temperature_is_undone_for_comparison(tmp_path: Path) -> None:
    write(tmp_path, None, temperature=2.0)
    table = pd.read_csv(tmp_path / "model/calibration.csv").set_index("when")
    assert table["temperature"].to_dict() == {"before": 1, "after": 2}
    logits = 2 * np.log(SECOND / (1 - SECOND))
    likelihood = 1 / (1 + np.exp(np.where(LABELS == 1, -logits, logits)))
    assert table["loss"]["before"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-5)
    assert table["accuracy"].tolist() == [0.5, 0.5]
    assert pd.read_csv(tmp_path / "model/reliability.csv")["when"].value_counts().to_dict() == {"before": 2, "after": 2}


def test_prediction_sets_and_unknown_photos_are_measured_with_reference_scores(tmp_path: Path) -> None:
    reference = Reference.from_scores(np.array([1.0, 2, 3, 4]), two(SECOND[::-1]), LABELS)
    write(tmp_path, reference)
    assert json.loads((tmp_path / "model.json").read_text())["unknown"] == 0.25
    table = pd.read_csv(tmp_path / "model/unknown.csv")
    assert table["split"].tolist() == ["validation"] * 4 + ["test"] * 4
    assert table["ood_score"].tolist() == [4, 3, 2, 1, 5, 3, 2, 1]
    assert table.index[table["unknown"]].tolist() == [4]
    sets = pd.read_csv(tmp_path / "model/prediction_sets.csv").set_index(
        "coverage"
    )  # too few photos to exclude a label
    expected = {"covered": 1, "mean_size": 2, "single": 0, "n": 4}
    assert sets.to_dict("index") == dict.fromkeys([0.9, 0.95, 0.99], expected)


class Constant:
    """A classifier that always predicts the same, and has seen the first photo."""

    reference = None

    def predict_dataset(self, photos: object) -> Predictions:
        return Predictions(photos, np.tile([0.9, 0.1], (len(photos), 1)), np.full(len(photos), np.nan))  # type: ignore

    def has_seen(self, digests: list[str]) -> list[bool]:
        return [digest == f"{0:064x}" for digest in digests]


def test_a_classifier_is_measured_on_the_test_photos_or_on_all(capsys: pytest.CaptureFixture[str]) -> None:
    photos = dataset([0, 0, 1, 0], ["train", "test", "test", "validation"])
    results = metrics.evaluate(Constant(), photos)  # type: ignore[arg-type]
    assert (results["n"], results["accuracy"]) == (2, 0.5)
    assert capsys.readouterr().err == ""
    assert metrics.evaluate(Constant(), dataset([0, 0, 1], ""))["n"] == 3  # type: ignore[arg-type]
    assert "trained or selected with 1 of these 3 photos" in capsys.readouterr().err
    with pytest.raises(SmallsetError, match="expected photos with labels, found none"):
        metrics.evaluate(Constant(), photos.take([]))  # type: ignore[arg-type]
