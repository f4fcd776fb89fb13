"""The side of photos: the one of the lowest validation loss, written down; a given one costs nothing."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from smallset.datasets import lists
from smallset.models import engine
from smallset.pipeline import files, params
from smallset.pipeline.errors import SmallsetError
from smallset.training import linear_probe, sides

P = params.Linear(C=None, class_weights="balanced", calibrate=False)


def build(side: int) -> keras.Model:
    """A base that sees nothing but at 24 px."""
    inputs = keras.Input((side, side, 3))
    seen = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.RandomNormal(seed=0))(inputs / 255)
    return keras.Model(inputs, seen if side == 24 else seen * 0)


def test_the_side_is_the_one_of_the_lowest_validation_loss(
    drawn: lists.Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "SIDES", (16, 24, 32))
    table = sides.choose(build, drawn, drawn, None, P)
    assert list(table.columns) == ["side", "C", "val_loss", "val_accuracy", "chosen"]
    assert table.side.tolist() == [16, 24, 32]
    assert table.chosen.tolist() == [False, True, False]
    assert table.val_loss[1] < table.val_loss[0] == pytest.approx(np.log(2), rel=1e-3)
    files.write_csv(tmp_path / "choice.csv", table)
    assert sides.chosen(pd.read_csv(tmp_path / "choice.csv")) == sides.chosen(table) == 24


def test_the_largest_side_is_tried_where_the_photos_are_few() -> None:
    assert sides.tried(1_000) == (224, 288, 384)
    assert sides.tried(1_001) == (224, 288)


def test_of_many_photos_evenly_spaced_ones_of_each_class_are_tried(
    drawn: lists.Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []

    def rows(_: engine.Step, found: lists.Photos, __: int) -> linear_probe.Rows:
        seen.append(found.files)
        return linear_probe.Rows(np.eye(len(found.files), dtype=np.float32), found.labels)

    monkeypatch.setattr(sides, "SIDES", (24, 32))
    monkeypatch.setattr(sides, "rows", rows)
    for most in (10, 4):
        monkeypatch.setattr(sides, "MOST", most)
        sides.choose(build, drawn, drawn, None, P.model_copy(update={"C": 1.0}))
    assert seen == [drawn.files] * 4 + [tuple(drawn.files[row] for row in (0, 3, 5, 6, 9))] * 4


def test_a_side_that_is_given_is_taken_without_a_look_at_the_photos(drawn: lists.Photos) -> None:
    def none(side: int) -> keras.Model:
        raise AssertionError(side)

    table = sides.choose(none, drawn, drawn, 200, P)
    assert (sides.chosen(table), len(table)) == (200, 1)


def test_a_side_that_the_base_does_not_take_is_left_out(
    drawn: lists.Photos, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def patched(side: int) -> keras.Model:
        if side % 24:
            raise SmallsetError("expected a multiple of 24 px")
        return build(side)

    monkeypatch.setattr(sides, "SIDES", (24, 32))
    assert sides.choose(patched, drawn, drawn, None, P).side.tolist() == [24]
    assert "32 px is left out: expected a multiple of 24 px" in capsys.readouterr().out
    monkeypatch.setattr(sides, "SIDES", (30, 32))
    with pytest.raises(SmallsetError, match="expected a multiple of 24 px"):
        sides.choose(patched, drawn, drawn, None, P)
