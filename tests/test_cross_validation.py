"""Cross-validation: its accuracy, an interval that is no narrower than the photos allow, and folds without leaks."""

import json
import sys
import zipfile
from pathlib import Path

import arrays
import numpy as np
import pandas as pd
import projects
import pytest
import yaml
from arrays import dataset, features

from smallset.datasets.dataset import Dataset
from smallset.evaluation import cross_validation
from smallset.features.store import Features
from smallset.models.calibration import IDENTITY
from smallset.models.predictions import Predictions
from smallset.pipeline import files
from smallset.training.linear_probe import split_folds

PARAMS = {"seed": 0, "precision": "auto", "linear_probe": {"C": [0.1, 1.0], "class_weight": None, "calibrate": True}}


def photos(count: int, group: int = 1) -> Dataset:
    """Two classes in turn; each `group` photos in a row form a group."""
    rows = np.arange(count)
    splits = np.where(rows % 5 == 3, "validation", np.where(rows % 5 == 4, "test", "train"))
    return dataset(rows // group % 2, splits, [f"group {row // group}" for row in rows])


def noisy(photos: Dataset, seed: int, group: int = 1) -> Features:
    """Features that are right four times in five; those of a group are alike."""
    random = np.random.default_rng(seed)
    skill = random.normal(0.84 * (2 * photos.labels - 1))[np.arange(len(photos)) // group * group]
    return features(photos, np.stack([skill, *random.normal(size=(4, len(skill)))], axis=1))


def test_the_interval_contains_the_accuracy_on_other_photos() -> None:
    results = [
        cross_validation.cross_validate(noisy(photos(200), seed), 0.1, "balanced", IDENTITY, seed) for seed in range(5)
    ]
    assert sum(row["cv_low"] < 0.8 < row["cv_high"] for row in results) >= 4
    assert np.mean([row["cv_accuracy"] for row in results]) == pytest.approx(0.79, abs=0.02)
    assert results[0]["cv_photos"] == 200


def test_photos_of_a_group_count_for_less() -> None:
    widths = []
    for group in (1, 20):
        row = cross_validation.cross_validate(noisy(photos(200, group), 0, group), 0.1, None, IDENTITY, 0)
        widths.append((row["cv_high"] - row["cv_low"]) / np.sqrt(row["cv_accuracy"] * (1 - row["cv_accuracy"])))
    assert widths[1] > 1.4 * widths[0]
    assert cross_validation.count_effective([1.0] * 25, 1.0, 145, 116) == pytest.approx(100)


@pytest.mark.parametrize("group", [1, 4])
def test_folds_have_their_share_of_every_class_and_divide_no_group(group: int) -> None:
    grouped = photos(200, group)
    folds = split_folds(grouped, 5, 0)
    assert sorted(np.concatenate([outside for _, outside in folds])) == [*range(200)]
    for inside, outside in folds:
        assert set(grouped.group_ids[inside]).isdisjoint(grouped.group_ids[outside])
        assert np.bincount(grouped.labels[outside]).tolist() == [20, 20]


def test_classes_with_few_photos_are_in_different_folds_and_each_fold_has_two_classes_outside() -> None:
    few = dataset([0] * 6 + [1] * 4 + [2], group=[*"abcdef", "x", "x", "y", "y", "z"])
    folds = split_folds(few, 5, 0)
    assert sorted(np.concatenate([outside for _, outside in folds])) == [*range(11)]
    assert all({0, 1} <= {*few.labels[inside]} for inside, _ in folds)
    assert len(split_folds(few.take([0, 6]), 5, 0)) == 0
    row = cross_validation.cross_validate(arrays.separable(few, 9, 0), 0.1, "balanced", IDENTITY, 0)
    assert row["cv_accuracy"] < 1  # the only photo of a class cannot be right
    assert row["cv_low"] < 0.7


@pytest.mark.parametrize("model", ["linear_probe", "fine_tuned"])
def test_the_stage_adds_it_to_the_linear_probe_and_needs_no_tensorflow(tmp_path: Path, model: str) -> None:
    table = photos(200)
    table.write(tmp_path / "metrics/photos.csv")
    noisy(table, 0).write(tmp_path / "data/features.npz")
    Predictions(table, np.eye(2)[table.labels], np.arange(200.0)).write(tmp_path / f"data/predictions/{model}.npz")
    search = pd.DataFrame({"C": [0.1, 1.0], "selected": [False, True]})
    files.write_csv(tmp_path / "metrics/linear_probe/search.csv", search)
    (tmp_path / "models").mkdir()
    with zipfile.ZipFile(tmp_path / f"models/{model}.keras", "w") as archive:  # what the stage reads of a model file
        archive.writestr("metadata.json", json.dumps({"classes": ["a", "b"], "temperature": 2.0, "photos": []}))
    files.write_text(tmp_path / "params.yaml", yaml.safe_dump(PARAMS))
    graph = {"evaluate": {"matrix": {"model": [model]}, "cmd": "", "params": ["seed", "linear_probe"]}}
    files.write_text(tmp_path / "dvc.yaml", yaml.safe_dump({"stages": graph}))
    script = (
        f"import os, sys\nos.environ['DVC_STAGE'] = 'evaluate@{model}'\nfrom smallset.stages import evaluate\n"
        f"evaluate.main('{model}')\nprint('imported:', {{'tensorflow', 'keras'}} & set(sys.modules))"
    )
    assert projects.run(tmp_path, sys.executable, "-W", "error", "-c", script) == "imported: set()\n"
    results = json.loads((tmp_path / f"metrics/{model}.json").read_text())
    assert results["accuracy"] == 1
    assert ("cv_accuracy" in results) == (model == "linear_probe")
    assert set(pd.read_csv(tmp_path / f"metrics/{model}/calibration.csv")["when"]) == {"before", "after"}
