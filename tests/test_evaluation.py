"""Measures on numbers that can be checked by hand, and tables that hold them."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from smallset import comparison, evaluation, photos, plots

LABELS = np.array([0, 0, 1, 1])
PROBABILITY = np.array([0.1, 0.6, 0.4, 0.9])


def test_measures_of_four_photos() -> None:
    measures = evaluation.measures(LABELS, PROBABILITY)
    loss = -np.log([0.9, 0.4, 0.4, 0.9]).mean()
    assert measures == {"accuracy": 0.5, "loss": pytest.approx(loss, abs=1e-6), "auc": 0.75, "n": 4}


def test_a_certain_mistake_costs_much_but_not_infinity() -> None:
    loss = evaluation.measures(LABELS, np.array([1.0, 0.0, 0.0, 1.0]))["loss"]
    assert loss == pytest.approx(-np.log(np.finfo(np.float64).eps) / 2, abs=1e-5)


def test_predictions_name_classes_and_the_probability_of_the_predicted_one() -> None:
    found = photos.Photos(Path(), ("cat", "dog"), ("cat/1", "cat/2", "dog/1", "dog/2"), LABELS)
    table = evaluation.predictions(found, PROBABILITY)
    assert table.actual.tolist() == ["cat", "cat", "dog", "dog"]
    assert table.predicted.tolist() == ["cat", "dog", "cat", "dog"]
    assert table.probability.tolist() == pytest.approx([0.9, 0.6, 0.6, 0.9])


def test_the_roc_curve_goes_from_corner_to_corner() -> None:
    roc = evaluation.roc(LABELS, PROBABILITY).to_numpy()
    assert roc[0].tolist() == [0, 0]
    assert roc[-1].tolist() == [1, 1]
    assert (np.diff(roc, axis=0) >= 0).all()


def test_predict_keeps_the_order_of_the_photos(drawn: photos.Photos) -> None:
    inputs = keras.Input((80, 80, 3))
    brightness = keras.layers.Rescaling(1 / 255)(keras.layers.GlobalAveragePooling2D()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(brightness))
    expected = [photos.decode(path).mean(axis=(0, 1)).sum() / 255 for path in drawn.paths()]
    assert evaluation.predict(model, drawn) == pytest.approx(expected, rel=1e-4)


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
    table = evaluation.predictions(drawn, np.linspace(0.05, 0.95, 10)[::-1])
    titles = [ax.get_title() for ax in plots.mistakes(table, drawn.folder).axes if ax.get_title()]
    assert len(titles) == 10
    assert titles[0].startswith("cat/cat.0.jpg\ndog 0.95")
    none = evaluation.predictions(drawn, drawn.labels.astype(float))
    assert [text.get_text() for text in plots.mistakes(none, drawn.folder).axes[0].texts] == ["no mistakes"]


def test_mistakes_that_are_equally_sure_are_shown_class_by_class(drawn: photos.Photos) -> None:
    table = evaluation.predictions(drawn, 1 - drawn.labels.astype(np.float64))
    titles = [ax.get_title() for ax in plots.mistakes(table, drawn.folder).axes if ax.get_title()]
    assert [title[:3] for title in titles] == ["cat", "dog"] * 5
