"""Rows in a file, read in pieces, give the models that the same rows in memory give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from smallset.datasets.lists import Photos
from smallset.evaluation import label_issues, learning_curve
from smallset.models import limits
from smallset.pipeline import bulk, params
from smallset.training import linear_probe, streaming

COUNT, WIDE = 503, 12
P = params.Linear(C=0.3, class_weights="balanced", calibrate=True)
InFile = Callable[[NDArray[Any]], bulk.Rows]


def drawn(classes: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows that float16 has without a loss, of uneven classes, scales and means; one input is the same in all."""
    random = np.random.default_rng(seed)
    labels = np.sort(np.minimum(random.geometric(0.4, COUNT) - 1, classes - 1))
    centres = np.random.default_rng(1).normal(size=(classes, WIDE))
    values = (random.normal(size=(COUNT, WIDE)) + centres[labels]) * np.geomspace(0.01, 30, WIDE) + np.arange(WIDE)
    values[:, 3] = 1.5
    return values.astype(np.float16).astype(np.float32), labels


def solved(inputs: bulk.Rows, labels: NDArray[np.int64], p: params.Linear = P) -> Pipeline:
    """With p.C."""
    return linear_probe.regression(linear_probe.Rows(inputs, labels), p.C or 1, p)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("weights", ["balanced", None])
def test_a_file_of_rows_gives_scikit_learn_s_solution(in_file: InFile, classes: int, weights: Any) -> None:
    inputs, labels = drawn(classes)
    rows = in_file(inputs)
    assert bulk.in_file(rows)
    assert rows.dtype == np.float16
    assert [len(bulk.read(rows, piece)) for piece in bulk.pieces(rows)] == [64] * 7 + [55]
    how = {"C": 0.3, "class_weight": weights, "max_iter": 1000}
    wanted = make_pipeline(StandardScaler(), LogisticRegression(**how, tol=1e-8)).fit(inputs.astype(float), labels)
    exact = streaming.regression(rows, labels, LogisticRegression(**how, tol=1e-6))
    assert exact[-1].coef_.shape == wanted[-1].coef_.shape
    np.testing.assert_allclose(exact[-1].coef_, wanted[-1].coef_, atol=2e-4)
    np.testing.assert_allclose(exact[-1].intercept_, wanted[-1].intercept_, atol=2e-4)
    np.testing.assert_allclose(exact.predict_proba(inputs), wanted.predict_proba(inputs), atol=1e-4)
    found = solved(rows, labels, P.model_copy(update={"class_weights": weights}))
    np.testing.assert_allclose(found.predict_proba(inputs), wanted.predict_proba(inputs), atol=5e-3)
    steps = make_pipeline(StandardScaler(), LogisticRegression(**how)).fit(inputs, labels)[-1].n_iter_[0]
    assert found[-1].n_iter_[0] == pytest.approx(steps, rel=0.2)


def test_neither_threads_nor_pieces_matter(in_file: InFile, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = drawn(5)
    rows = in_file(inputs)
    kernels = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", threads)
        kernels.append(solved(rows, labels)[-1].coef_)
    assert all(np.array_equal(kernels[0], other) for other in kernels[1:])
    for piece in (7 * WIDE, COUNT * WIDE):
        monkeypatch.setattr(bulk, "PIECE", piece)
        np.testing.assert_allclose(solved(rows, labels)[-1].coef_, kernels[0], atol=1e-4)


def test_c_is_told_by_a_part_that_has_each_class_and_solved_with_all(
    in_file: InFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, labels = drawn(3)
    labels[:] = np.sort(labels)
    labels[-2:] = 3  # a class of two rows
    train, validation = (
        linear_probe.Rows(in_file(inputs), labels),
        linear_probe.Rows(in_file(drawn(4, seed=1)[0]), labels),
    )
    monkeypatch.setattr(bulk, "HELD", 50 * WIDE * 4)
    few = train.few()
    assert 50 <= len(few.labels) <= 50 + 4
    assert [*np.unique(few.labels)] == [0, 1, 2, 3]
    found, table = linear_probe.choose(train, validation, P.model_copy(update={"C": None}))
    assert (len(table), table.chosen.sum()) == (len(linear_probe.GRID), 1)
    strength = float(table.C[table.chosen].iloc[0])
    wanted = linear_probe.regression(linear_probe.Rows(inputs, labels), strength, P)
    np.testing.assert_allclose(found.predict_proba(inputs), wanted.predict_proba(inputs), atol=3e-3)
    known = linear_probe.Rows(bulk.read(validation.inputs, slice(None)), labels)
    assert linear_probe.measures(found, validation, P) == pytest.approx(linear_probe.measures(found, known, P))


def test_what_comes_after_is_the_same_of_a_file(in_file: InFile, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = drawn(3)
    memory, file = linear_probe.Rows(inputs, labels), linear_probe.Rows(in_file(inputs), labels)
    keras.utils.set_random_seed(0)
    features = keras.Input((WIDE,))
    head = keras.Model(features, keras.layers.Dense(3, activation="softmax")(features))
    one, other = (linear_probe.bounded(head, rows, rows) for rows in (memory, file))
    for name in ("mean", "scale", "usual", "doubt", "trained"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-4, err_msg=name)
    assert isinstance(one, limits.Limits)
    linear_probe.put(linear_probe.regression(memory, 3, P), head.layers[-1])
    assert linear_probe.calibrated(head.layers[-1], memory) != pytest.approx(1, rel=0.02)
    assert linear_probe.calibrated(head.layers[-1], file) == pytest.approx(1, rel=0.01)
    monkeypatch.setattr(bulk, "HELD", 300 * WIDE * 4)
    found = Photos(Path("train"), ("a", "b", "c"), tuple(map(str, range(COUNT))), labels)
    wrong = learning_curve.measure(file, found, file, 0.3, P, seed=0)
    assert [*wrong] == [30, 60, 150, 300, COUNT]
    assert wrong[COUNT].mean() < wrong[30].mean()
    fold = [label_issues.out_of_fold(rows, labels, found.classes, 0) for rows in (inputs, file.inputs)]
    assert np.abs(fold[0] - fold[1]).mean() < 0.03
