"""Outputs appear whole or not at all."""

from pathlib import Path

import pytest

from smallset import files


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "out.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.whole(target) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("a", "b"):
        with files.whole(target) as draft:
            draft.mkdir()
            (draft / name).touch()
    assert [path.name for path in target.iterdir()] == ["b"]


def test_what_an_earlier_run_left_is_cleared(tmp_path: Path) -> None:
    with files.whole(tmp_path / "out") as draft:
        name = draft.name
        draft.mkdir()
    (tmp_path / name).mkdir()
    (tmp_path / name / "stale").touch()
    with files.whole(tmp_path / "out") as draft:
        draft.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").iterdir())


def test_json_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())
