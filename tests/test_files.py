"""Files and checkpoints are complete or not there."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smallset.pipeline import checkpoints, files
from smallset.pipeline.checkpoints import Checkpoint


def test_a_failed_block_leaves_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "sub" / "out.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.atomic_write(target) as draft:
        draft.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(target, {"loss": float("nan")})
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_and_drafts_of_killed_runs_are_cleared(tmp_path: Path, durable: bool) -> None:
    for content in ("a", "b"):
        files.draft_path(tmp_path / "out").mkdir()
        with files.atomic_write(tmp_path / "out", durable) as draft:
            draft.write_text(content)
    assert (tmp_path / "out").read_text() == "b"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_and_a_link_are_replaced_as_a_whole_and_the_link_s_target_stays(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x").touch()
    for name in ("out", ".part.out", ".part.old.out"):
        (tmp_path / name).symlink_to(elsewhere)
    for name in ("a", "b"):
        with files.atomic_write(target) as draft:
            draft.mkdir()
            (draft / name).touch()
        assert [path.name for path in target.iterdir()] == [name]
    assert not target.is_symlink()
    assert (elsewhere / "x").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "out"}


@pytest.mark.parametrize("name", ["ä" * 125 + ".json", "x" * 250 + ".json", "." + "x" * 254])
def test_a_name_of_255_bytes_is_written_and_numbered(tmp_path: Path, name: str) -> None:
    assert len(name.encode()) == 255
    files.write_text(tmp_path / name, "text")
    path = tmp_path / files.fit_name(Path(name).stem, "-12.png")
    files.write_text(path, "more")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / name, path])
    assert path.name.endswith("-12.png")
    assert files.fit_name("stem", "-2.png") == "stem-2.png"
    assert len(files.fit_name("", "x" * 300)) == 300


def test_a_copy_is_a_separate_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"photo")
    files.copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b").write_bytes(b"other")
    assert (tmp_path / "a").read_bytes() == b"photo"


@pytest.mark.parametrize("name", ["a,b", 'a"b', "a\nb", "Icon\r", "a\r\nb", "=cmd", "nan", " "])
def test_a_table_returns_every_name(tmp_path: Path, name: str) -> None:
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({"file": [name, "b"], "p": [0.123456789, 1]}))
    table = pd.read_csv(tmp_path / "a.csv", dtype={"file": str}, keep_default_na=False)
    assert table.to_dict("list") == {"file": [name, "b"], "p": [0.123457, 1]}


def test_a_checkpoint_is_valid_for_its_inputs_and_undamaged_or_empty(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / ".part.x[1].npz", "first")
    assert checkpoint.read() == {}
    checkpoint.write({"a": np.arange(3)})
    assert checkpoint.read()["a"].tolist() == [0, 1, 2]
    assert Checkpoint(checkpoint.path, "other").read() == {}
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-30])
    assert checkpoint.read() == {}
    for part in (checkpoint.beside("head"), checkpoint.beside("run")):
        part.write({})
    (tmp_path / ".part.other.npz").touch()
    checkpoint.remove()  # with those beside it
    assert [path.name for path in tmp_path.iterdir()] == [".part.other.npz"]


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_a_killed_run_leaves_its_draft_to_the_next_one_if_the_checkpoint_is_valid(
    tmp_path: Path, has_checkpoint: bool
) -> None:
    target, checkpoint = tmp_path / "out", Checkpoint(tmp_path / "x.npz", "first")
    with pytest.raises(KeyboardInterrupt), checkpoints.resumable(target, checkpoint) as draft:
        draft.mkdir()
        (draft / "first").touch()
        if has_checkpoint:
            checkpoint.write({"done": np.array(1)})
        raise KeyboardInterrupt
    assert not target.exists()
    with checkpoints.resumable(target, checkpoint) as draft:
        draft.mkdir(exist_ok=True)
    assert (target / "first").exists() is has_checkpoint
