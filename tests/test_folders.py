"""How a folder of photos is understood: labels, splits, and the sentences that say so."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from albums import put

from smallset.datasets import folders
from smallset.pipeline.errors import SmallsetError


def many(pattern: str, count: int = 10) -> list[str]:
    return [pattern.format(number) for number in range(count)]


def read(folder: Path, table: Path | None = None) -> tuple[dict[Any, str], dict[Any, str], str]:
    """The label and the split of each photo, and the notes."""
    dataset, notes = folders.read_folder(folder, table)
    columns = dataset.table.set_index("file")
    return columns["label"].to_dict(), columns["split"].to_dict(), "\n".join(notes)


def test_plain_class_folders_need_no_explanation(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.jpg", "cat/10.jpg", "cat/9.jpg")
    dataset, notes = folders.read_folder(tmp_path)
    assert dataset.table["file"].tolist() == ["cat/9.jpg", "cat/10.jpg", "dog/1.jpg"]
    assert dataset.classes == ("cat", "dog")
    assert dataset.paths[0] == tmp_path / "cat/9.jpg"
    assert {*dataset.table["split"], *dataset.table["group"], *dataset.sha256} == {""}
    assert notes == []


def test_a_recording_is_a_group(tmp_path: Path) -> None:
    put(tmp_path, "cat/recording 1/1.jpg", "cat/recording 1/2.jpg", "cat/Recording_12/1.jpg", "cat/3.jpg")
    put(tmp_path, "dog/recording 1/1.jpg", "dog/recordings/1.jpg", "dog/pug/1.jpg")
    dataset, notes = folders.read_folder(tmp_path)
    groups = dataset.table.set_index("file")["group"].to_dict()
    assert {file: group for file, group in groups.items() if group} == {
        **{f"cat/recording 1/{number}.jpg": "cat/recording 1" for number in (1, 2)},
        "cat/Recording_12/1.jpg": "cat/Recording_12",
        "dog/recording 1/1.jpg": "dog/recording 1",
    }
    assert notes[0].startswith("Groups: by the folders Recording_12, recording 1 in class folders.")
    assert notes[1].startswith("Folders inside of class folders: dog.")
    put(tmp_path / "more", "train/cat/recording 1/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg", "test/dog/2.jpg")
    table = folders.read_folder(tmp_path / "more")[0].table
    assert table["group"].tolist().count("train/cat/recording 1") == 1


@pytest.mark.parametrize(
    "names",
    [
        ("train", "validation", "test"),
        ("Train", "val", "TEST"),
        ("training", "valid", "testing"),
        ("train_set", "validation_set", "test_set"),
        ("Training Data", "Validation Data", "Test Data"),
        ("seg_train/seg_train", "seg_dev/seg_dev", "seg_test/seg_test"),
        ("birds-train", "birds-val", "birds-test"),
        ("trainset", "valset", "testset"),
    ],
)
@pytest.mark.parametrize("around", ["", "archive/data/"])
def test_folders_of_splits_have_many_names(tmp_path: Path, names: tuple[str, str, str], around: str) -> None:
    put(tmp_path, *(f"{around}{name}/{label}/1.jpg" for name in names for label in ("cat", "dog")))
    labels, splits, notes = read(tmp_path)
    expected = dict(zip(names, ("train", "validation", "test"), strict=True))
    assert splits == {f"{around}{n}/{label}/1.jpg": expected[n] for n in names for label in ("cat", "dog")}
    assert {*labels.values()} == {"cat", "dog"}
    assert "Splits: by the folders " in notes
    assert ("The folder of photos is archive" in notes) == bool(around)


@pytest.mark.parametrize(("other", "missing"), [("val", "test"), ("Testing", "validation")])
def test_a_missing_split_is_drawn_from_the_training_photos(tmp_path: Path, other: str, missing: str) -> None:
    put(tmp_path, *many(f"{other}/cat/{{}}.jpg", 4), *many(f"{other}/dog/{{}}.jpg", 4))
    put(tmp_path, *many("train/cat/{}.jpg", 20), *many("train/dog/{}.jpg", 7))
    _, splits, notes = read(tmp_path)
    drawn = [path.rpartition("/")[0] for path, split in splits.items() if split == missing]
    assert drawn == ["train/cat"] * 4 + ["train/dog"]
    assert read(tmp_path)[1] == splits
    assert f"Nothing is for {missing}, so one in 5 of the training photos of each class is drawn" in notes


def test_a_group_is_drawn_as_a_whole(tmp_path: Path) -> None:
    put(tmp_path, *many("{}.jpg", 60))
    rows = [f"{n}.jpg,{'ab'[n % 2]},{'test' if n >= 50 else 'train'},{n // 5}" for n in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["file,label,split,group", *rows]))
    table = folders.read_folder(tmp_path, tmp_path / "table.csv")[0].table
    assert table[["group", "split"]].drop_duplicates()["group"].is_unique
    assert 5 <= (table["split"] == "validation").sum() <= 15


def test_a_test_folder_without_classes_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, *many("train/cat.{}.jpg"), *many("train/dog.{}.jpg"), *many("test1/{}.jpg"))
    labels, splits, notes = read(tmp_path)
    assert {*splits.values()} == {""}
    assert [*labels.values()] == ["cat"] * 10 + ["dog"] * 10
    assert "Left out: 10 photos in test1, which has no classes." in notes
    assert "All photos with classes are for train, so all splits are drawn." in notes


def test_folders_beside_the_splits_are_left_out(tmp_path: Path) -> None:
    for split in ("seg_train", "seg_test"):
        put(tmp_path, *many(f"{split}/{split}/sea/{{}}.jpg"), *many(f"{split}/{split}/forest/{{}}.jpg"))
    put(tmp_path, *many("seg_pred/seg_pred/{}.jpg", 3), "loose.jpg")
    _, splits, notes = read(tmp_path)
    assert {*splits.values()} == {"train", "validation", "test"}
    assert "Left out: 3 photos in seg_pred, which is not a split." in notes
    assert "Left out: 1 photos in no folder, which is not a split." in notes


def test_a_split_may_have_a_single_class_and_splits_may_be_in_class_folders(tmp_path: Path) -> None:
    put(tmp_path / "a", *(f"{split}/{label}/1.jpg" for split in ("train", "val") for label in ("cat", "dog", "ox")))
    assert read(put(tmp_path / "a", "test/inner/cat/1.jpg"))[0]["test/inner/cat/1.jpg"] == "cat"
    put(tmp_path / "b", *(f"{label}/{split}/1.jpg" for label in ("cat", "dog") for split in ("train", "val", "test")))
    labels, splits, _ = read(tmp_path / "b")
    assert (labels["cat/val/1.jpg"], splits["cat/val/1.jpg"]) == ("cat", "validation")


@pytest.mark.parametrize(
    "classes", [("train", "bus"), ("train", "tram", "car"), ("train station", "test tube"), ("valley", "training shoe")]
)
def test_classes_may_have_names_like_splits(tmp_path: Path, classes: tuple[str, ...]) -> None:
    put(tmp_path, *(f"{name}/old/1.jpg" for name in classes))
    assert {*read(tmp_path)[0].values()} == {*classes}


@pytest.mark.parametrize("around", ["data/", "a/b/c/", "train/"])
def test_class_folders_may_be_deeper(tmp_path: Path, around: str) -> None:
    put(tmp_path, f"{around}cat/1.jpg", f"{around}dog/1.jpg")
    (tmp_path / "notes").mkdir()
    labels, _, notes = read(tmp_path)
    assert labels == {f"{around}cat/1.jpg": "cat", f"{around}dog/1.jpg": "dog"}
    assert f"The folder of photos is {around}, which contains all of them." in notes
    assert "Folders without a photo: notes." in notes


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("cat.{}.jpg", "dog.{}.jpg"), {"cat", "dog"}),
        (("Maine_Coon_{}.jpg", "great_pyrenees_{}.jpg"), {"Maine_Coon", "great_pyrenees"}),
        (("rose ({}).jpg", "daisy ({}).png"), {"rose", "daisy"}),
        (("paper{}.jpg", "glass{}.jpg"), {"paper", "glass"}),
        (("images/고양이-{}.jpg", "images/개-{}.jpg"), {"고양이", "개"}),
    ],
)
def test_file_names_may_contain_the_classes(tmp_path: Path, patterns: tuple[str, str], expected: set[str]) -> None:
    labels, _, notes = read(put(tmp_path, *(name for pattern in patterns for name in many(pattern))))
    assert {*labels.values()} == expected
    assert "Classes: by the names of the files (" in notes


UNLABELLED = "expected at least two classes, found none. Sort the photos into one folder"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.jpg", "2.jpg"], UNLABELLED),
        ([*many("IMG_{}.jpg"), *many("DSC_{}.jpg")], UNLABELLED),
        ([*many("IMG_2023010{}_123456.jpg"), *many("PXL_2023010{}_123456.jpg")], UNLABELLED),
        ([*many("WhatsApp Image 2023-01-0{} at 12.00.00.jpg"), *many("photo_{}.jpg")], UNLABELLED),
        (["tom1.jpg", "felix2.jpg", "rex3.jpg"], UNLABELLED),
        ([*many("cat.{}.jpg"), *many("dog.{}.jpg"), "unknown.jpg"], UNLABELLED),
        (many("cat.{}.jpg"), UNLABELLED),
        ([], "expected photos, found none. Name another one"),
        (["cat/1.jpg"], "expected at least two classes, found cat. Sort the photos"),
        (["cat/1.jpg", "dog/.x.jpg"], "found cat. .* These folders have no photo: dog."),
        (["cat/1.jpg", "Cat/1.jpg", "ox/1.jpg", "OX/1.jpg"], "classes differ only in case: Cat, OX, cat, ox. Rename"),
        (["cat/1.jpg", "a\\b/1.jpg"], r"expected names that can be folders: .*'a\\b' \("),
        ([f"{name}/cat/1.jpg" for name in ("train", "val", "valid")], "the folders val, valid are all for validation"),
        (["val/cat/1.jpg", "test/1.jpg", "train/1.jpg"], "expected at least two classes, found train"),
    ],
)
def test_unclear_folders_are_errors(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(SmallsetError, match=message):
        folders.read_folder(put(tmp_path, *names))


def test_an_error_suggests_the_folder_above_or_a_table(tmp_path: Path) -> None:
    put(tmp_path, "pets/cat/1.jpg", "pets/dog/1.jpg", "a/1.jpg", "a/2.jpg")
    with pytest.raises(SmallsetError, match=f"If the classes are cat, dog, name the folder {tmp_path}/pets"):
        folders.read_folder(tmp_path / "pets/cat")
    (tmp_path / "a/labels.csv").write_text("file,label\n1.jpg,cat\n3.jpg,dog\n")  # does not fit
    with pytest.raises(SmallsetError, match=r"If labels.csv is such a table, name it with --table\."):
        folders.read_folder(tmp_path / "a")


def test_a_table_beside_the_photos_is_read(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        put(tmp_path, *many(f"{split}/{{}}.jpg", 4))
        rows = [f"{number}.jpg, {number % 2}, {1 - number % 2}" for number in range(4)]
        (tmp_path / split / "_classes.csv").write_text("\n".join(["filename, cat, dog", *rows]))
    labels, splits, notes = read(tmp_path)
    assert (labels["valid/1.jpg"], labels["valid/2.jpg"], splits["valid/2.jpg"]) == ("cat", "dog", "validation")
    assert "Classes: by the table train/_classes.csv. Name another to change this." in notes


def test_a_table_above_the_photos_is_read_except_a_sample_submission(tmp_path: Path) -> None:
    put(tmp_path, *many("train/{}.jpg"), *many("test/1{}.jpg"))
    (tmp_path / "train.csv").write_text("\n".join(["id,label", *(f"{n},{'ab'[n % 2]}" for n in range(10))]))
    (tmp_path / "sample_submission.csv").write_text("\n".join(["id,label", *(f"1{n},a" for n in range(10))]))
    labels, _, notes = read(tmp_path)
    assert sorted(labels) == many("train/{}.jpg")
    assert "Left out: 10 photos in test, which has no classes." in notes


def test_loose_photos_and_inner_folders_are_mentioned(tmp_path: Path) -> None:
    labels, _, notes = read(put(tmp_path, "1.jpg", "cat/tom/1.jpg", "cat/felix/1.jpg", "dog/rex/1.jpg"))
    assert {*labels.values()} == {"cat", "dog"}
    assert "Left out, because they are in no class folder: 1 photos (1.jpg)." in notes
    assert "Folders inside of class folders: cat. All photos in them count as that class." in notes


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    cat, dog = (os.fsdecode(name.encode("cp949")) for name in ("고양이", "개"))
    labels, _, notes = read(put(tmp_path, f"cat/{cat}.jpg", "cat/1.jpg", "dog/1.jpg"))
    assert labels == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}
    assert r"Left out, because their names are not UTF-8: 1 photos (cat/\xb0\xed" in notes
    put(tmp_path, f"{cat}/1.jpg", f"{dog}/1.jpg")
    with pytest.raises(SmallsetError, match=r"'\\xb0\\xb3' .*'\\xb0\\xed"):
        folders.read_folder(tmp_path)


def test_two_spellings_of_a_letter_are_the_same_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    put(tmp_path, f"train/{composed}/1.jpg", f"train/{decomposed}/2.jpg", "train/dog/1.jpg", "val/dog/3.jpg")
    put(tmp_path, f"val/{decomposed}/1.jpg", f"test/{composed}/2.jpg", "test/dog/4.jpg")
    dataset, _ = folders.read_folder(tmp_path)
    assert dataset.classes == ("dog", composed)
    assert all(path.is_file() for path in dataset.paths)
