"""Measures on numbers that can be checked by hand, and tables that hold them."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from smallset import comparison, drawing, evaluation, photos, plots

LABELS = np.array([0, 0, 1, 1])
DOG = np.array([0.1, 0.6, 0.4, 0.9])
PROBABILITY = np.stack([1 - DOG, DOG], axis=1)
FOUND = photos.Photos(Path(), ("cat", "dog"), ("cat/1", "cat/2", "dog/1", "dog/2"), LABELS)


def sure(labels: np.ndarray) -> np.ndarray:
    """Probabilities of a model that is certain of these labels of two."""
    return np.eye(2)[labels]


def test_measures_of_four_photos() -> None:
    measures = evaluation.measures(LABELS, PROBABILITY)
    loss = -np.log([0.9, 0.4, 0.4, 0.9]).mean()
    assert measures == {"accuracy": 0.5, "loss": pytest.approx(loss, abs=1e-6), "auc": 0.75, "f1": 0.5, "n": 4}


def test_a_certain_mistake_costs_much_but_not_infinity() -> None:
    loss = evaluation.measures(LABELS, sure(np.array([1, 0, 0, 1])))["loss"]
    assert loss == pytest.approx(-np.log(1e-7) / 2, abs=1e-5)


def test_the_area_under_the_curve_keeps_apart_what_1_minus_p_rounds_together() -> None:
    dog = np.array([1e-30, 1e-20, 1e-25, 0.9])
    assert evaluation.measures(LABELS, np.stack([1 - dog, dog], axis=1))["auc"] == 0.75


def test_predictions_name_classes_and_the_probability_of_the_predicted_one() -> None:
    table = evaluation.predictions(FOUND, PROBABILITY)
    assert table.actual.tolist() == ["cat", "cat", "dog", "dog"]
    assert table.predicted.tolist() == ["cat", "dog", "cat", "dog"]
    assert table.probability.tolist() == pytest.approx([0.9, 0.6, 0.6, 0.9])


def test_the_roc_curve_goes_from_corner_to_corner() -> None:
    table = evaluation.roc(FOUND, PROBABILITY)
    assert set(table["class"]) == {"dog"}
    roc = table[["false_positive_rate", "true_positive_rate"]].to_numpy()
    assert roc[0].tolist() == [0, 0]
    assert roc[-1].tolist() == [1, 1]
    assert (np.diff(roc, axis=0) >= 0).all()


def test_three_classes_are_measured_each_against_the_rest() -> None:
    labels = np.array([0, 0, 1, 2])
    found = photos.Photos(Path(), ("a", "accuracy", "c"), ("a/1", "a/2", "accuracy/1", "c/1"), labels)
    probability = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]])
    measures = evaluation.measures(labels, probability)
    assert measures["accuracy"] == 0.75
    assert measures["loss"] == pytest.approx(-np.log([0.8, 0.1, 0.7, 0.6]).mean(), abs=1e-6)
    assert measures["auc"] == pytest.approx((0.625 + 2 / 3 + 1) / 3, abs=1e-6)
    rows = evaluation.by_class(found, probability).set_index("class")
    assert rows.precision.tolist() == pytest.approx([1, 0.5, 1, 2.5 / 3])
    assert rows.recall.tolist() == pytest.approx([0.5, 1, 1, 2.5 / 3])
    assert rows.n.tolist() == [2, 1, 1, 4]
    assert rows.f1["mean"] == pytest.approx(measures["f1"], abs=1e-6)
    assert set(evaluation.roc(found, probability)["class"]) == set(found.classes)


def test_there_is_no_area_under_the_curve_without_a_photo_of_each_class() -> None:
    measures = evaluation.measures(LABELS[:2], PROBABILITY[:2])
    assert (measures["accuracy"], measures["auc"]) == (0.5, None)


def test_predict_keeps_the_order_of_the_photos(drawn: photos.Photos) -> None:
    inputs = keras.Input((80, 80, 3))
    brightness = keras.layers.Rescaling(1 / 255)(keras.layers.GlobalAveragePooling2D()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(brightness))
    expected = [photos.decode(path).mean(axis=(0, 1)).sum() / 255 for path in drawn.paths()]
    assert evaluation.predict(model, drawn)[:, 1] == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def history() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "accuracy": [0.5, 0.7, 0.9],
            "loss": [0.7, 0.5, 0.2],
            "val_accuracy": [0.5, 0.8, 0.75],
            "val_loss": [0.7, 0.4, 0.6],
        }
    )


def test_the_table_shows_the_epoch_that_was_kept(history: pd.DataFrame) -> None:
    measures = {"a": {"accuracy": 0.75, "loss": 0.5, "auc": 0.8, "n": 4}}
    table = comparison.table(measures, {"a": history})
    assert table.to_dict("records") == [
        {"model": "a", **measures["a"], "val_accuracy": 0.8, "epoch": 2},
    ]
    assert "| a | 0.7500 | 0.5000 | 0.8000 | 4 | 0.8000 | 2 |" in comparison.markdown(table)


def test_curves_are_tidy(history: pd.DataFrame) -> None:
    curves = comparison.curves({"a": history, "b": history})
    assert len(curves) == 2 * 2 * 3
    row = curves[(curves.model == "b") & (curves.split == "validation") & (curves.epoch == 2)]
    assert row[["accuracy", "loss"]].to_numpy().tolist() == [[0.8, 0.4]]


def test_figures_are_equal_to_the_byte_and_mistakes_are_the_surest(
    tmp_path: Path, history: pd.DataFrame, drawn: photos.Photos
) -> None:
    for name in ("1.png", "2.png"):
        plots.save(plots.curves({"a": history, "b": history}), tmp_path / name)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    dog = np.linspace(0.05, 0.95, 10)[::-1]
    table = evaluation.predictions(drawn, np.stack([1 - dog, dog], axis=1))
    titles = [ax.get_title() for ax in plots.mistakes(table, drawn.folder).axes if ax.get_title()]
    assert len(titles) == 10
    assert titles[0].startswith("cat/cat.0.jpg\ndog 0.95")
    none = evaluation.predictions(drawn, sure(drawn.labels))
    assert [text.get_text() for text in plots.mistakes(none, drawn.folder).axes[0].texts] == ["no mistakes"]


def test_mistakes_that_are_equally_sure_are_shown_class_by_class(drawn: photos.Photos) -> None:
    table = evaluation.predictions(drawn, sure(1 - drawn.labels))
    titles = [ax.get_title() for ax in plots.mistakes(table, drawn.folder).axes if ax.get_title()]
    assert [title[:3] for title in titles] == ["cat", "dog"] * 5


@pytest.mark.parametrize("count", [2, 50])
def test_the_confusion_matrix_counts_photos(count: int) -> None:
    classes = [f"class {number}" for number in range(count)]
    table = pd.DataFrame({"actual": classes * 2, "predicted": classes + classes[1:] + classes[:1]})
    ax, *_ = plots.confusion(table, classes, "model").axes
    assert [text.get_text() for text in ax.texts] == ["1"] * 2 * count
    assert [label.get_text() for label in ax.get_yticklabels()] == classes


def test_names_with_dollars_are_written_as_they_are(tmp_path: Path) -> None:
    drawing.draw(tmp_path / "x", 1, 80, seed=0)
    (tmp_path / "x/cat/cat.0.jpg").rename(tmp_path / "x/cat/a$b_{$.jpg")
    classes = ["a$b_{$", "cat"]
    table = pd.DataFrame(
        {"file": ["cat/a$b_{$.jpg"], "actual": ["cat"], "predicted": classes[:1], "probability": [0.9]}
    )
    plots.save(plots.mistakes(table, tmp_path / "x"), tmp_path / "mistakes.png")
    plots.save(plots.confusion(table, classes, "model"), tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1000
