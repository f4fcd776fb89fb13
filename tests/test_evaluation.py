"""Measures on numbers that can be checked by hand, and tables that hold them."""

from pathlib import Path

import keras
import numpy as np
import pytest

from smallset.datasets import lists
from smallset.evaluation import calibration, metrics
from smallset.images import decoding

LABELS = np.array([0, 0, 1, 1])
DOG = np.array([0.1, 0.6, 0.4, 0.9])
PROBABILITY = np.stack([1 - DOG, DOG], axis=1)
FOUND = lists.Photos(Path(), ("cat", "dog"), ("cat/1", "cat/2", "dog/1", "dog/2"), LABELS)


def sure(labels: np.ndarray) -> np.ndarray:
    """Probabilities of a model that is certain of these labels of two."""
    return np.eye(2)[labels]


def test_measures_of_four_photos() -> None:
    measures = metrics.measures(LABELS, PROBABILITY)
    loss = -np.log([0.9, 0.4, 0.4, 0.9]).mean()
    approximately = {"loss": loss, "brier": (0.1**2 + 0.6**2 + 0.6**2 + 0.1**2) / 4, "ece": 0.35}  # a photo a bin
    expected = {name: pytest.approx(value, abs=1e-6) for name, value in approximately.items()}
    assert measures.pop("ece_noise") == calibration.noise(PROBABILITY)
    assert measures == {"accuracy": 0.5, "auc": 0.75, "f1": 0.5, "n": 4} | expected
    assert metrics.choosing(LABELS, PROBABILITY) == {"val_accuracy": 0.5, "val_loss": expected["loss"]}


def test_a_certain_mistake_costs_much_but_not_infinity() -> None:
    loss = metrics.measures(LABELS, sure(np.array([1, 0, 0, 1])))["loss"]
    assert loss == pytest.approx(-np.log(1e-7) / 2, abs=1e-5)


def test_the_area_under_the_curve_keeps_apart_what_1_minus_p_rounds_together() -> None:
    dog = np.array([1e-30, 1e-20, 1e-25, 0.9])
    assert metrics.measures(LABELS, np.stack([1 - dog, dog], axis=1))["auc"] == 0.75


def test_predictions_name_classes_and_the_probability_of_the_predicted_one() -> None:
    table = metrics.predictions(FOUND, PROBABILITY)
    assert table.actual.tolist() == ["cat", "cat", "dog", "dog"]
    assert table.predicted.tolist() == ["cat", "dog", "cat", "dog"]
    assert table.probability.tolist() == pytest.approx([0.9, 0.6, 0.6, 0.9])


def test_the_roc_curve_goes_from_corner_to_corner() -> None:
    table = metrics.roc(FOUND, PROBABILITY)
    assert set(table["class"]) == {"dog"}
    roc = table[["false_positive_rate", "true_positive_rate"]].to_numpy()
    assert roc[0].tolist() == [0, 0]
    assert roc[-1].tolist() == [1, 1]
    assert (np.diff(roc, axis=0) >= 0).all()


def test_three_classes_are_measured_each_against_the_rest() -> None:
    labels = np.array([0, 0, 1, 2])
    found = lists.Photos(Path(), ("a", "mean", "n"), ("a/1", "a/2", "mean/1", "n/1"), labels)
    probability = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]])
    measures = metrics.measures(labels, probability)
    assert measures["accuracy"] == 0.75
    assert measures["loss"] == pytest.approx(-np.log([0.8, 0.1, 0.7, 0.6]).mean(), abs=1e-6)
    assert measures["auc"] == pytest.approx((0.625 + 2 / 3 + 1) / 3, abs=1e-6)
    rows = metrics.by_class(found, probability).set_index("class")
    assert rows.index.tolist() == ["a", "mean", "n"]
    assert rows.precision.tolist() == pytest.approx([1, 0.5, 1])
    assert rows.recall.tolist() == pytest.approx([0.5, 1, 1])
    assert rows.n.tolist() == [2, 1, 1]
    assert rows.f1.mean() == pytest.approx(measures["f1"], abs=1e-6)
    assert set(metrics.roc(found, probability)["class"]) == set(found.classes)


def test_there_is_no_area_under_the_curve_without_a_photo_of_each_class() -> None:
    measures = metrics.measures(LABELS[:2], PROBABILITY[:2])
    assert (measures["accuracy"], measures["auc"]) == (0.5, None)


def test_predict_keeps_the_order_of_the_photos(drawn: lists.Photos) -> None:
    inputs = keras.Input((80, 80, 3))
    brightness = keras.layers.Rescaling(1 / 765)(keras.layers.GlobalAveragePooling2D()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(brightness))
    expected = [decoding.decode(path).mean(axis=(0, 1)).sum() / 765 for path in drawn.paths()]
    assert metrics.predictor(model)(drawn).probability[:, 1] == pytest.approx(expected, rel=1e-4)
