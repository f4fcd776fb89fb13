"""Drift: other photos are noticed, and photos of the same kind are no more than chance."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import save_classifier
from PIL import Image
from scipy import stats
from typer.testing import CliRunner, Result

from smallset.cli import drift
from smallset.cli.drift import Drift
from smallset.cli.main import app
from smallset.datasets import folders, synthetic
from smallset.datasets.dataset import Dataset
from smallset.models.reference import Reference
from smallset.pipeline import files

CLASSES = ("cat", "dog", "owl")
SHARES = np.array([0.6, 0.3, 0.1])


def draw(random: np.random.Generator, photos: int, shares: np.ndarray = SHARES, signal: float = 2.0) -> tuple[Any, Any]:
    """Labels (photos,) with these shares, and the P(class) of a calibrated model with SHARES."""
    labels = random.choice(len(shares), photos, p=shares)
    logits = signal * (random.normal(size=(photos, len(shares))) + signal * np.eye(len(shares))[labels])
    odds = np.exp(logits) * SHARES
    return labels, odds / odds.sum(axis=1, keepdims=True)


def reference(random: np.random.Generator, photos: int = 400, scores: int = 200) -> Reference:
    labels, probabilities = draw(random, photos)
    return Reference.from_scores(random.normal(size=scores), probabilities, labels)


def compare(known: Reference, unknown: np.ndarray, probabilities: np.ndarray, ood_rate: float = 0.05) -> dict[str, Any]:
    """Compare photos that arrive in two parts."""
    result = Drift(known, CLASSES, ood_rate)
    for part in (slice(7), slice(7, None)):
        result.add(unknown[part].tolist(), probabilities[part])
    return result.compare()


@pytest.mark.parametrize(("calibration", "photos"), [(40, 20), (40, 1000), (400, 30), (400, 400)])
def test_photos_of_the_same_kind_are_rarely_significant(calibration: int, photos: int) -> None:
    random, alarms = np.random.default_rng(0), 0
    for _ in range(100):
        known = reference(random, calibration, calibration)
        unknown = known.is_unknown(random.normal(size=photos), 0.05)
        alarms += drift.is_significant(compare(known, unknown, draw(random, photos)[1]), 0.05)
    assert alarms <= 10  # 5 are expected


def test_each_comparison_notices_its_own_difference() -> None:
    random = np.random.default_rng(0)
    known, none = reference(random), np.zeros(200, bool)
    ordinary = draw(random, 200)[1]
    others = {
        "unknown": (np.arange(200) < 40, ordinary),
        "labels": (none, draw(random, 200, np.array([0.1, 0.2, 0.7]))[1]),
        "confidence": (none, draw(random, 200, signal=1.0)[1]),
    }
    for kind, (unknown, probabilities) in others.items():
        differences = compare(known, unknown, probabilities)
        assert differences[kind]["p_holm"] < 1e-4, kind
        assert drift.is_significant(differences, 0.01)
        lines = dict(zip(drift.KINDS, drift.describe(differences), strict=True))
        assert ": more than chance" in lines[kind]
    assert compare(known, *others["labels"])["labels"]["label"] == "owl"
    assert not drift.is_significant(compare(known, none, ordinary), 0.05)
    assert [line.count("no more than chance") for line in drift.describe(compare(known, none, ordinary))] == [1, 1, 1]


def test_with_many_validation_photos_the_share_of_unknown_photos_has_the_binomial_test() -> None:
    random = np.random.default_rng(0)
    known = reference(random, scores=200_000)
    differences = Drift(known, CLASSES, 0.01)
    differences.add([True] * 6 + [False] * 194, draw(random, 200)[1])
    check = differences._compare_unknown(known)
    assert check["expected"] == pytest.approx(0.01, rel=1e-3)
    assert check["p"] == pytest.approx(stats.binomtest(6, 200, 0.01, alternative="greater").pvalue, rel=0.01)


def test_few_validation_photos_flag_more_than_the_requested_rate_and_that_is_no_drift() -> None:
    random = np.random.default_rng(0)
    differences = compare(reference(random, scores=20), np.arange(100) < 6, draw(random, 100)[1], ood_rate=0.01)
    assert differences["unknown"]["expected"] == pytest.approx(1 / 21)
    assert differences["unknown"]["p_holm"] > 0.2


def test_rare_and_missing_classes_and_equal_photos_give_finite_p_values() -> None:
    known = Reference.from_scores(np.arange(30.0), np.eye(3)[[0] * 30], np.zeros(30, int))  # certain, of one class
    rare = np.eye(3)[[0] * 29 + [2]]  # a class that the model was not calibrated with
    for probabilities in (np.eye(3)[[0] * 30], rare):
        differences = compare(known, np.zeros(30, bool), probabilities)
        assert all(0.05 < differences[kind]["p_holm"] <= 1 for kind in drift.KINDS)
    replaced = compare(known, np.ones(30, bool), np.eye(3)[[1] * 30])
    assert replaced["labels"]["p_holm"] < 1e-6
    assert replaced["unknown"]["p_holm"] < 1e-6


def test_a_model_without_labels_is_compared_by_unknown_photos_only() -> None:
    random = np.random.default_rng(0)
    known = reference(random)
    old = replace(known, nonconformity_labels=np.full(400, -1))  # of smallset 0.2
    differences = compare(old, np.zeros(50, bool), draw(random, 50)[1])
    assert list(differences) == ["photos", "unknown"]
    assert "not compared" in [*drift.describe(differences)][1]
    for result in (Drift(None, CLASSES, None), Drift(known, CLASSES, 0.01)):
        result.add([False] * 19, draw(random, 19)[1])
        assert result.compare() == {"photos": 19}
        assert "20 are needed" in next(drift.describe(result.compare()))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that was calibrated with 24 generated photos."""
    synthetic.draw(tmp_path / "photos", 12, 40, seed=0)
    dataset = folders.read_folder(tmp_path / "photos")[0]
    digests = [files.sha256(path) for path in dataset.paths]
    return save_classifier(tmp_path / "known.keras", replace(dataset, table=dataset.table.assign(sha256=digests)))


def test_predict_compares_photos_and_has_an_exit_code_for_scripts(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("pyarrow")
    done = run("predict", model, tmp_path / "photos", "--fail-on-drift", 0.01)
    assert done.exit_code == 0, done.output
    assert [line.count("no more than chance") for line in done.stderr.splitlines()] == [1, 1, 1]
    done = run("predict", model, tmp_path / "photos/cat", "--fail-on-drift", 0.01)
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "--fail-on-drift: nothing is compared: found 12 photos that can be read, and 20 are needed."
    ]
    assert run("predict", model, tmp_path / "photos/cat").stderr == ""
    (tmp_path / "photos/x.jpg").write_text("no photo")
    assert run("predict", model, tmp_path / "photos", "--fail-on-drift", 0.01).exit_code == 1
    for number in range(30):  # pictures of stripes
        pixels = np.random.default_rng(number).integers(0, 2, (1, 40, 1)) * np.full((40, 1, 3), 255)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"photos/{number}.png")
    for extra in ([], ["--output", tmp_path / "out"]):
        assert run("predict", model, tmp_path / "photos", *extra).exit_code == 1
        done = run("predict", model, tmp_path / "photos", "--fail-on-drift", 0.01, *extra)
        assert done.exit_code == 3, done.output
        assert ": more than chance" in done.stderr
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["drift"]["photos"] == 54
    assert manifest["drift"]["unknown"]["observed"] == manifest["counts"]["unknown"] / 54


def test_a_model_without_reference_scores_cannot_fail_on_drift(tmp_path: Path, drawn: Dataset) -> None:
    plain = save_classifier(tmp_path / "plain.keras", drawn, reference=False)
    done = run("predict", plain, drawn.root, "--fail-on-drift", 0.01)
    assert done.exit_code == 2
    assert "saved without reference scores" in done.stderr
