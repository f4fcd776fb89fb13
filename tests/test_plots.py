"""Figures: the same bytes for the same data, and what they show."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smallset.datasets import lists, synthetic
from smallset.evaluation import metrics
from smallset.reports import curves, figures


def sure(labels: np.ndarray) -> np.ndarray:
    """Probabilities of a model that is certain of these labels of two."""
    return np.eye(2)[labels]


def test_figures_are_equal_to_the_byte_and_mistakes_are_the_surest(
    tmp_path: Path, history: pd.DataFrame, drawn: lists.Photos
) -> None:
    for name in ("1.png", "2.png"):
        figures.save(curves.draw({"a": history, "b": history}), tmp_path / name)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    dog = np.linspace(0.05, 0.95, 10)[::-1]
    table = metrics.predictions(drawn, np.stack([1 - dog, dog], axis=1))
    titles = [ax.get_title() for ax in figures.mistakes(table, drawn.folder).axes if ax.get_title()]
    assert len(titles) == 10
    assert titles[0].startswith("cat/cat.0.jpg\ndog 0.95")
    none = metrics.predictions(drawn, sure(drawn.labels))
    assert [text.get_text() for text in figures.mistakes(none, drawn.folder).axes[0].texts] == ["no mistakes"]


def test_mistakes_that_are_equally_sure_are_shown_class_by_class(drawn: lists.Photos) -> None:
    table = metrics.predictions(drawn, sure(1 - drawn.labels))
    titles = [ax.get_title() for ax in figures.mistakes(table, drawn.folder).axes if ax.get_title()]
    assert [title[:3] for title in titles] == ["cat", "dog"] * 5


@pytest.mark.parametrize("count", [2, 50])
def test_the_confusion_matrix_counts_photos(count: int) -> None:
    classes = [f"class {number}" for number in range(count)]
    table = pd.DataFrame({"actual": classes * 2, "predicted": classes + classes[1:] + classes[:1]})
    ax, *_ = figures.confusion(table, classes, "model").axes
    assert [text.get_text() for text in ax.texts] == ["1"] * 2 * count
    assert [label.get_text() for label in ax.get_yticklabels()] == classes


def test_a_confusion_matrix_of_a_thousand_classes_is_no_larger_than_one_of_eighty(tmp_path: Path) -> None:
    sizes = {}
    for count in (figures.LEGIBLE, 1000):
        classes = [f"class {number:04}" for number in range(count)]
        table = pd.DataFrame({"actual": classes * 2, "predicted": classes + classes[1:] + classes[:1]})
        figure = figures.confusion(table, classes, "model")
        sizes[count] = figure.get_size_inches().tolist()
        assert len(figure.axes[0].texts) == (2 * count if count == figures.LEGIBLE else 0)
    figures.save(figure, tmp_path / "x.png")
    assert sizes[1000] == sizes[figures.LEGIBLE]
    assert figure.axes[0].get_title() == "model: 1000 classes, by number in their order"


def test_pairs_and_suspects_are_shown_with_their_names(drawn: lists.Photos) -> None:
    drawn.folder.rename(drawn.folder.parent / "train")
    files = {"file": "cat/cat.0.jpg", "other_file": "dog/dog.1.jpg", "split": "train", "other_split": "train"}
    pairs = pd.DataFrame([files | {"words": words} for words in ("the same file", "nearly the same picture")] * 7)
    titles = [ax.get_title() for ax in figures.pairs(pairs, drawn.folder.parent).axes]
    assert len(titles) == 2 * figures.PAIRS
    assert titles[:2] == ["train\ncat/cat.0.jpg", "train (the same file)\ndog/dog.1.jpg"]
    assert titles[3] == "train (nearly the same picture)\ndog/dog.1.jpg"
    assert [text.get_text() for text in figures.pairs(pairs[:0], Path()).axes[0].texts] == ["no photos alike"]
    table = pd.DataFrame([files | {"label": "cat", "suspected": "dog", "probability": 0.125}])
    assert figures.suspects(table, drawn.folder.parent).axes[0].get_title() == "train cat/cat.0.jpg\ncat 0.1250 (dog?)"


def test_names_with_dollars_are_written_as_they_are(tmp_path: Path) -> None:
    synthetic.draw(tmp_path / "x", 1, 80, seed=0)
    (tmp_path / "x/cat/cat.0.jpg").rename(tmp_path / "x/cat/a$b_{$.jpg")
    classes = ["a$b_{$", "cat"]
    table = pd.DataFrame(
        {"file": ["cat/a$b_{$.jpg"], "actual": ["cat"], "predicted": classes[:1], "probability": [0.9]}
    )
    figures.save(figures.mistakes(table, tmp_path / "x"), tmp_path / "mistakes.png")
    figures.save(figures.confusion(table, classes, "model"), tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1000


def test_smoothed_curves_keep_the_plain_ones_and_begin_with_their_first_point(history: pd.DataFrame) -> None:
    plain, smoothed = (curves.draw({"a": history}, smoothing).axes[0].lines for smoothing in (0.0, 0.8))
    assert [len(plain), len(smoothed)] == [3, 5]  # training, validation, the epoch that was kept
    faint, line = smoothed[2], smoothed[3]
    assert np.asarray(faint.get_ydata()).tolist() == [0.5, 0.8, 0.75]
    assert np.asarray(line.get_ydata()) == pytest.approx([0.5, 0.56, 0.598])  # 0.8 of the last, 0.2 of the new
