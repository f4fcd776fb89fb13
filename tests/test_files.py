"""Outputs appear whole or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smallset.pipeline import checkpoints, files
from smallset.pipeline.checkpoints import Checkpoint


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "out.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.atomic_write(target) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("a", "b"):
        with files.atomic_write(target) as draft:
            draft.mkdir()
            (draft / name).touch()
    assert [path.name for path in target.iterdir()] == ["b"]


def test_what_an_earlier_run_left_is_cleared(tmp_path: Path) -> None:
    with files.atomic_write(tmp_path / "out") as draft:
        name = draft.name
        draft.mkdir()
    (tmp_path / name).mkdir()
    (tmp_path / name / "stale").touch()
    with files.atomic_write(tmp_path / "out") as draft:
        draft.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").iterdir())


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x").touch()
    for name in ("out", ".part.out", ".part.old.out"):
        (tmp_path / name).symlink_to(elsewhere)
    with files.atomic_write(tmp_path / "out") as draft:
        draft.mkdir()
    assert (tmp_path / "out").is_dir()
    assert not (tmp_path / "out").is_symlink()
    assert (elsewhere / "x").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "out"}


def test_what_a_backup_s_run_has_made_is_complete_until_another_run_begins(tmp_path: Path) -> None:
    first, second = (Checkpoint(tmp_path / "x.npz", name) for name in ("first", "second"))
    out = tmp_path / "out"
    assert not checkpoints.complete(out, first)
    with checkpoints.resumable(out, first) as draft:
        draft.mkdir()
        first.write({"rows": np.array(3)})
        assert not checkpoints.complete(out, first)
    assert checkpoints.complete(out, first)
    assert not checkpoints.complete(out, second)
    files.draft_path(out).mkdir()
    second.write({"rows": np.array(1)})  # killed half-way, beside what the first one left
    assert not checkpoints.complete(out, second)
    files.remove(out)
    assert not checkpoints.complete(out, first)


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"photo")
    files.copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").write_bytes(b"other")
    assert (tmp_path / "a").read_bytes() == b"photo"


def test_a_backup_is_of_the_same_inputs_and_undamaged_or_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "x.npz", "one")
    assert checkpoint.read() == {}
    checkpoint.write({"a": np.arange(3)})
    assert checkpoint.read()["a"].tolist() == [0, 1, 2]
    assert Checkpoint(checkpoint.path, "other").read() == {}
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-30])
    assert checkpoint.read() == {}
    checkpoint.remove()
    assert not list(tmp_path.iterdir())


def test_a_draft_of_a_run_that_was_killed_is_left_to_the_next_one_if_its_backup_is(tmp_path: Path) -> None:
    target, checkpoint = tmp_path / "out", Checkpoint(tmp_path / "x.npz", "one")

    def begin(kept: bool) -> None:
        with pytest.raises(KeyboardInterrupt), checkpoints.resumable(target, checkpoint) as draft:
            draft.mkdir(exist_ok=True)
            (draft / "first").touch()
            if kept:
                checkpoint.write({"done": np.array(1)})
            raise KeyboardInterrupt

    for kept in (False, True):
        begin(kept)
        assert not target.exists()
        with checkpoints.resumable(target, checkpoint) as draft:
            assert draft.exists() is kept
            draft.mkdir(exist_ok=True)
        assert (target / "first").exists() is kept
        files.remove(target)


def test_json_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a,b", 'a"b', "a\nb", "Icon\r", "a\r\nb", "=cmd", "nan", " "])
def test_a_table_gives_back_every_name(tmp_path: Path, name: str) -> None:
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({"file": [name, "b"], "p": [0.123456789, 1]}))
    table = pd.read_csv(tmp_path / "a.csv", dtype={"file": str}, keep_default_na=False)
    assert table.to_dict("list") == {"file": [name, "b"], "p": [0.123457, 1]}
