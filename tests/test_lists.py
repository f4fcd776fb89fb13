"""Which photos there are, in what order, and what a list of them says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smallset.datasets import lists
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError


def test_photos_are_in_numeric_order_with_their_labels(tmp_path: Path) -> None:
    for name in ("dog/dog.10.jpg", "dog/dog.9.jpg", "cat/cat.100.jpg", "cat/cat.20.jpg", "cat/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = lists.find(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.files == ("cat/cat.20.jpg", "cat/cat.100.jpg", "dog/dog.9.jpg", "dog/dog.10.jpg")
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(SmallsetError, match=r"cat: no photo there. Add photos of that class, or take its folder away"):
        lists.find(tmp_path)


def test_a_folder_in_a_class_folder_is_named_as_its_photos_would_be_left_out(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/1.jpg", "dog/new/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(SmallsetError, match="dog: expected photos alone, found the folder new. Move its photos up"):
        lists.find(tmp_path)


def test_one_class_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(SmallsetError, match="expected a folder for each class, two or more; found 1: cat. Sort"):
        lists.find(tmp_path)


def test_a_list_gives_the_photos_back_without_looking_at_them(tmp_path: Path, drawn: lists.Photos) -> None:
    files.write_csv(tmp_path / "train.csv", drawn.table())
    found = lists.read(tmp_path / "train.csv", tmp_path / "nowhere")
    assert (found.classes, found.files, found.digests) == (drawn.classes, drawn.files, drawn.digests)
    assert found.labels.tolist() == drawn.labels.tolist()
    assert found.paths()[0] == str(tmp_path / "nowhere/cat/cat.0.jpg")


def test_a_class_may_be_called_7_or_none(tmp_path: Path, drawn: lists.Photos) -> None:
    files.write_csv(tmp_path / "x.csv", replace(drawn, classes=("7", "None")).table())
    assert lists.read(tmp_path / "x.csv", tmp_path).classes == ("7", "None")


def test_rows_of_a_list_keep_their_digests(drawn: lists.Photos) -> None:
    some = drawn.at(np.array([7, 2]))
    assert some.digests == (drawn.digests[7], drawn.digests[2])
    assert some.digests[0] == files.sha256(Path(some.paths()[0]))


def test_groups_are_a_column_and_their_photos_one_unit(tmp_path: Path, drawn: lists.Photos) -> None:
    grouped = replace(drawn, groups=("walk", "", "", "walk", "cat/cat.1.jpg", *[""] * 5))
    files.write_csv(tmp_path / "x.csv", grouped.table())
    found = lists.read(tmp_path / "x.csv", tmp_path)
    assert found.groups == grouped.groups
    assert found.at(np.array([3, 4])).groups == ("walk", "cat/cat.1.jpg")
    assert found.units[0] == found.units[3]
    assert len(set(found.units)) == 9  # a group that is called as a photo is another unit
    assert len(set(drawn.units)) == 10


@pytest.mark.parametrize("content", [None, "", "file,label\ncat/1.jpg,cat\n", "file,label,digest\n"])
def test_what_is_no_list_is_named_with_the_cure(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "train.csv").write_text(content)
    with pytest.raises(SmallsetError, match=r"train.csv: expected a list of photos with the columns .* Run: dvc repro"):
        lists.read(tmp_path / "train.csv", tmp_path)
