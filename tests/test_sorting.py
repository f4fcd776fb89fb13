"""Copies in a folder for each label: complete, never over another file, and the same after a second run."""

import csv
import inspect
import os
from pathlib import Path

import numpy as np
import pytest

from smallset.cli import app, sorting
from smallset.cli.prediction import Answer, Asked
from smallset.models.limits import COVERAGE, Limits
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

CLASSES = ("cat", "dog")
FLAT = np.zeros((1, 1), np.float32)
# Of nine validation photos: unlike from 1 on; at 0.9 all labels stay that are as likely as 0.2.
LIMITS = Limits(FLAT[0], FLAT[0], FLAT, np.linspace(0, 1, 9), np.linspace(0, 0.8, 9), np.zeros(3))
ASKED = Asked(LIMITS, coverage=0.9)


@pytest.fixture
def answers(tmp_path: Path) -> list[Answer]:
    """Two photos of one name for cat, one for unsure, one for unlike, and one that cannot be read."""
    given = {"a/1.jpg": (0.9, 0), "b/1.jpg": (0.9, 0), "b/2.jpg": (0.6, 0), "b/3.jpg": (0.9, 2), "b/4.jpg": (0.9, 0)}
    for name in given:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_text(name)
    made = [
        Answer(str(tmp_path / "photos" / name), np.array([cat, 1 - cat]), "", far) for name, (cat, far) in given.items()
    ]
    return [*made[:4], made[4]._replace(error="does not decode, at all")]


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_photos_are_copied_by_label_and_listed_and_a_second_run_changes_nothing(
    tmp_path: Path, answers: list[Answer]
) -> None:
    before, target = contents(tmp_path / "photos"), tmp_path / "sorted"
    places = [place for _, place in sorting.sort(answers, target, CLASSES, ASKED)]
    assert places == ["cat", "cat", "unsure", "unlike", ""]
    found = contents(target)
    table = found.pop("sorted.csv")
    assert found == {
        "cat/1.jpg": "a/1.jpg",
        "cat/1-2.jpg": "b/1.jpg",
        "unsure/2.jpg": "b/2.jpg",
        "unlike/3.jpg": "b/3.jpg",
    }
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["copy"] for row in rows] == ["cat/1.jpg", "cat/1-2.jpg", "unsure/2.jpg", "unlike/3.jpg", ""]
    assert [row["possible"] for row in rows] == ["cat", "cat", "cat/dog", "cat", ""]
    assert [row["unlike"] for row in rows] == ["false", "false", "false", "true", ""]
    assert (rows[4]["label"], rows[4]["error"]) == ("", "does not decode, at all")
    list(sorting.sort(answers, target, CLASSES, ASKED))
    assert contents(target) == found | {"sorted.csv": table}
    assert contents(tmp_path / "photos") == before


def test_no_file_is_replaced_and_none_is_left_in_parts(
    tmp_path: Path, answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "sorted"
    mine = {"cat/1.jpg": "my own", "cat/1-2.jpg": "mine, too", "sorted.csv": "my table"}
    for name, text in mine.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text)
    (target / "cat/1-3.jpg").symlink_to("nowhere")
    list(sorting.sort(answers[:1], target, CLASSES, ASKED))
    found = contents(target)
    assert found["cat/1-4.jpg"] == "a/1.jpg"
    assert found.items() >= mine.items()
    assert "sorted-2.csv" in found

    def full(source: Path, draft: Path) -> None:
        draft.write_text(source.read_text()[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "copy", full)
    with pytest.raises(OSError, match="No space left"):
        list(sorting.sort(answers[1:2], target, CLASSES, ASKED))
    assert contents(target) == found


def test_a_disk_without_links_takes_copies_as_well(
    tmp_path: Path, answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    list(sorting.sort(answers, tmp_path / "sorted", CLASSES, ASKED))
    assert sorted(contents(tmp_path / "sorted")) == [
        *["cat/1-2.jpg", "cat/1.jpg", "sorted.csv", "unlike/3.jpg", "unsure/2.jpg"]
    ]


def test_classes_may_be_called_as_the_other_folders_and_no_copy_is_outside(tmp_path: Path) -> None:
    assert sorting.others(("Unsure", "_unsure", "cat")) == {"unsure": "__unsure", "unlike": "unlike"}
    for classes in (("..", "cat"), ("a/b", "cat"), ("", "cat")):
        with pytest.raises(SmallsetError, match="labels that no folder can have"):
            sorting.check(tmp_path / "photos", tmp_path / "sorted", classes)
    with pytest.raises(SmallsetError, match="where copies would be sorted again"):
        sorting.check(tmp_path, tmp_path / "sorted", CLASSES)


def test_the_command_is_as_sure_as_the_pages() -> None:
    """Its default stands in the command line's own words, which import no Keras for --help."""
    assert inspect.signature(app.sort).parameters["coverage"].default == COVERAGE
