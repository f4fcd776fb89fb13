"""Label issues: swapped labels are found by what the other photos say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from arrays import NAMES, dataset, features, separable

from smallset.evaluation import label_issues

SPLITS = ["train"] * 400 + ["validation"] * 200 + ["test"] * 60


@pytest.mark.parametrize("seed", range(3))
def test_swapped_labels_are_in_the_first_rows(seed: int) -> None:
    true = np.arange(660) % 3
    swapped = np.random.default_rng(seed).choice(600, 12, replace=False)  # 2 %
    labels = true.copy()
    labels[swapped] = (true[swapped] + 1) % 3
    photos = dataset(labels, SPLITS)
    table = label_issues.find_label_issues(replace(separable(dataset(true), 8, seed), dataset=photos), seed)
    assert [*table] == ["file", "split", "given_label", "predicted_label", "label_quality"]
    assert len(table) == label_issues.MIN_ROWS
    assert table["label_quality"].is_monotonic_increasing
    assert "test" not in set(table["split"])
    first = table.head(18).set_index("file")  # 1.5 x 12
    wrong = {photos.table["file"][row]: NAMES[true[row]] for row in swapped}
    listed = [file for file in wrong if file in first.index]
    assert len(listed) >= 0.85 * len(wrong)
    assert first.loc[listed, "predicted_label"].tolist() == [wrong[file] for file in listed]


def test_all_doubtful_labels_are_listed_and_issues_are_other_predictions() -> None:
    random = np.random.default_rng(0)
    photos = dataset(random.integers(0, 4, 300))
    useless = features(photos, random.normal(size=(300, 4)))
    table = label_issues.find_label_issues(useless, 0)
    assert len(table) > 200
    issues = label_issues.select_issues(table)
    assert (issues["given_label"] != issues["predicted_label"]).all()
    assert issues["label_quality"].max() < label_issues.DOUBTFUL
    assert label_issues.select_issues(pd.DataFrame()).empty


def test_the_photos_of_a_group_do_not_confirm_each_other() -> None:
    random = np.random.default_rng(0)
    labels, group = np.arange(200) // 4 % 2, np.arange(200) // 4
    values = random.normal(size=(50, 400))[group]  # each group of four has features of its own, which tell nothing
    alone = label_issues.find_label_issues(features(dataset(labels), values), 0)
    grouped = label_issues.find_label_issues(features(dataset(labels, group=group.astype(str)), values), 0)
    assert len(label_issues.select_issues(alone)) == 0
    assert len(label_issues.select_issues(grouped)) > 50


def test_a_class_that_only_one_fold_has_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, rows = dataset([0] * 10 + [1] * 10 + [2] * 2), np.arange(22)
    monkeypatch.setattr(label_issues, "split_folds", lambda *_: [(rows[:20], rows[20:])])
    table = label_issues.find_label_issues(separable(photos, 9, 0), 0)
    assert table["label_quality"].tolist() == [1] * 22
