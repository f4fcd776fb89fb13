"""Cross-validation: its accuracy, and an interval that is no narrower than the photos allow."""

from pathlib import Path

import keras
import numpy as np
import pytest

from smallset.datasets.lists import Photos
from smallset.evaluation import cross_validation
from smallset.pipeline import params
from smallset.training import linear_probe

P = params.Linear(C=None, class_weights="balanced", calibrate=True)


def photos(count: int, group: int = 1) -> Photos:
    """Two classes in turn; each `group` photos in a row belong together."""
    groups = tuple(f"walk {row // group}" for row in range(count))
    return Photos(Path("all"), ("a", "b"), tuple(map(str, range(count))), np.arange(count) // group % 2, (), groups)


def rows(found: Photos, seed: int, group: int = 1) -> linear_probe.Rows:
    """What tells the classes apart four times in five, the photos of a group alike."""
    random = np.random.default_rng(seed)
    skill = random.normal(0.84 * (2 * found.labels - 1))[np.arange(len(found.files)) // group * group]
    return linear_probe.Rows(
        np.stack([skill, *random.normal(size=(4, len(skill)))], axis=1).astype(np.float32), found.labels
    )


def test_the_interval_holds_the_accuracy_on_other_photos() -> None:
    held, tables = 0, []
    for seed in range(10):
        found = photos(200)
        tables.append(cross_validation.measure(rows(found, seed), found, 0.1, P, seed).iloc[0])
        held += tables[-1].low < 0.8 < tables[-1].high
    assert held >= 9
    assert np.mean([row.accuracy for row in tables]) == pytest.approx(0.79, abs=0.02)
    assert tables[0][["photos", "folds", "repeats"]].tolist() == [200, 5, 5]


def test_photos_that_belong_together_count_for_less() -> None:
    widths = []
    for group in (1, 20):
        found = photos(200, group)
        row = cross_validation.measure(rows(found, 0, group), found, 0.1, P, 0).iloc[0]
        widths.append((row.high - row.low) / np.sqrt(row.accuracy * (1 - row.accuracy)))
    assert widths[1] > 1.5 * widths[0]
    assert cross_validation.worth([1.0] * 25, 1.0, 145) == pytest.approx(100)


def test_many_test_photos_need_none(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = keras.Sequential()
    table = cross_validation.where_needed((nothing, nothing), [], photos(300), 0.1, P, 0)
    assert (len(table), list(table)) == (0, cross_validation.COLUMNS)
    assert capsys.readouterr().out == "300 test photos tell accuracies well enough: no cross-validation.\n"
