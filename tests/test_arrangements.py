"""Folders as people have them: what is decided, in what words, and what is not clear."""

import os
import unicodedata
from pathlib import Path

import pytest

from smallset.datasets import folders
from smallset.pipeline.errors import SmallsetError

JPEG = b"\xff\xd8\xff\xe0"


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG)
    return folder


def named(pattern: str, count: int = 10) -> list[str]:
    """The names that a pattern stands for: cat/{}.jpg gives cat/0.jpg and so on."""
    return [pattern.format(number) for number in range(count)]


def labels(folder: Path) -> dict[str, str]:
    own, _ = folders.read(folder, None)
    return dict(zip(own["source"], own["label"], strict=True))


def splits(folder: Path) -> dict[str, str]:
    own, _ = folders.read(folder, None)
    return dict(zip(own["source"], own["split"], strict=True))


def said(folder: Path) -> str:
    return "\n".join(folders.read(folder, None)[1])


def test_plain_class_folders_need_no_words(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.jpg", "dog/1.jpg")
    assert labels(tmp_path) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}
    assert said(tmp_path) == ""


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
@pytest.mark.parametrize("around", ["", "archive/", "archive/data/"])
def test_folders_of_splits_have_many_names(tmp_path: Path, names: tuple[str, str, str], around: str) -> None:
    for name in names:
        put(tmp_path, f"{around}{name}/cat/1.jpg", f"{around}{name}/dog/1.jpg")
    train, validation, test = names
    found = splits(tmp_path)
    assert found[f"{around}{train}/cat/1.jpg"] == "train"
    assert found[f"{around}{validation}/cat/1.jpg"] == "validation"
    assert found[f"{around}{test}/dog/1.jpg"] == "test"
    assert {*labels(tmp_path).values()} == {"cat", "dog"}
    assert "Splits: by the folders " in said(tmp_path)
    assert ("Taken for the folder of photos: archive" in said(tmp_path)) == bool(around)


@pytest.mark.parametrize(
    ("others", "lacking"),
    [
        (("val",), "test"),
        (("test",), "validation"),
        (("Testing",), "validation"),
        (("dev",), "test"),
    ],
)
def test_a_split_that_there_is_not_is_drawn_from_the_training_photos(
    tmp_path: Path, others: tuple[str, ...], lacking: str
) -> None:
    for name in others:
        put(tmp_path, *named(f"{name}/cat/{{}}.jpg", 4), *named(f"{name}/dog/{{}}.jpg", 4))
    put(tmp_path, *named("train/cat/{}.jpg", 20), *named("train/dog/{}.jpg", 7))
    found = splits(tmp_path)
    drawn = [path for path, split in found.items() if split == lacking]
    assert all(path.startswith("train/") for path in drawn)
    assert [sum(path.startswith(f"train/{name}/") for path in drawn) for name in ("cat", "dog")] == [4, 1]
    assert splits(tmp_path) == found
    assert f"No folder or line is for {lacking}: one in 5 of the training photos of each class is drawn" in said(
        tmp_path
    )
    assert "to decide otherwise" in said(tmp_path)


def test_a_test_folder_without_classes_is_left_out_and_all_splits_are_drawn(tmp_path: Path) -> None:
    put(tmp_path, *named("train/cat.{}.jpg"), *named("train/dog.{}.jpg"), *named("test1/{}.jpg"))
    own, words = folders.read(tmp_path, None)
    assert {*own} == {"source", "file", "label"}
    assert own["label"].value_counts().to_dict() == {"cat": 10, "dog": 10}
    assert "Left out: 10 photos of test1, which has no classes." in words
    assert "All photos with classes are for train: all splits are drawn." in words


def test_what_lies_beside_the_splits_is_left_out_and_said(tmp_path: Path) -> None:
    for split in ("seg_train", "seg_test"):
        put(tmp_path, *named(f"{split}/{split}/sea/{{}}.jpg"), *named(f"{split}/{split}/forest/{{}}.jpg"))
    put(tmp_path, *named("seg_pred/seg_pred/{}.jpg", 3), "loose.jpg")
    assert {*splits(tmp_path).values()} == {"train", "validation", "test"}
    assert "Left out: 3 photos of seg_pred, which is no split." in said(tmp_path)
    assert "Left out: 1 photos of no folder, which is no split." in said(tmp_path)


def test_a_split_may_have_one_class_alone_and_that_is_an_error_with_all_that_are_missing(tmp_path: Path) -> None:
    put(tmp_path, *(f"{split}/{label}/1.jpg" for split in ("train", "val") for label in ("cat", "dog", "ox")))
    put(tmp_path, "test/wrapped/cat/1.jpg")
    with pytest.raises(
        SmallsetError, match="no photo of dog in test; of ox in test. Add some there, or name no splits"
    ):
        folders.read(tmp_path, None)


def test_splits_may_lie_in_the_class_folders(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for split in ("train", "val", "test"):
            put(tmp_path, f"{label}/{split}/1.jpg")
    assert labels(tmp_path)["cat/val/1.jpg"] == "cat"
    assert splits(tmp_path)["cat/val/1.jpg"] == "validation"


@pytest.mark.parametrize(
    "classes", [("train", "bus"), ("train", "tram", "car"), ("train station", "test tube"), ("valley", "training shoe")]
)
def test_classes_with_names_like_splits_are_classes(tmp_path: Path, classes: tuple[str, ...]) -> None:
    put(tmp_path, *(f"{name}/old/1.jpg" for name in classes))
    assert {*labels(tmp_path).values()} == {*classes}


@pytest.mark.parametrize("around", ["data/", "a/b/c/", "train/"])
def test_class_folders_one_level_deeper_are_found(tmp_path: Path, around: str) -> None:
    put(tmp_path, f"{around}cat/1.jpg", f"{around}dog/1.jpg")
    (tmp_path / "notes").mkdir()
    assert labels(tmp_path) == {f"{around}cat/1.jpg": "cat", f"{around}dog/1.jpg": "dog"}
    assert f"Taken for the folder of photos: {around}, which holds all of them." in said(tmp_path)
    assert "Folders without a photo: notes." in said(tmp_path)


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
def test_classes_may_be_in_the_names(tmp_path: Path, patterns: tuple[str, str], expected: set[str]) -> None:
    put(tmp_path, *(name for pattern in patterns for name in named(pattern)))
    assert {*labels(tmp_path).values()} == expected
    assert "Classes: by the files' names (" in said(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg"],
        [*named("IMG_{}.jpg"), *named("DSC_{}.jpg")],
        [*named("IMG_2023010{}_123456.jpg"), *named("PXL_2023010{}_123456.jpg")],
        [*named("WhatsApp Image 2023-01-0{} at 12.00.00.jpg"), *named("photo_{}.jpg")],
        ["tom1.jpg", "felix2.jpg", "rex3.jpg"],
        [*named("cat.{}.jpg"), *named("dog.{}.jpg"), "unknown.jpg"],
        named("cat.{}.jpg"),
    ],
)
def test_names_that_are_not_of_classes_are_not_taken_for_such(tmp_path: Path, names: list[str]) -> None:
    put(tmp_path, *names)
    with pytest.raises(
        SmallsetError, match="expected two classes or more, found none. Sort the photos into one folder"
    ):
        folders.read(tmp_path, None)


def test_a_class_folder_s_own_name_leads_to_the_folder_above(tmp_path: Path) -> None:
    put(tmp_path, "own/cat/1.jpg", "own/dog/1.jpg")
    with pytest.raises(SmallsetError, match=f"If the classes are cat, dog, name {tmp_path}/own"):
        folders.read(tmp_path / "own/cat", None)


def test_a_table_beside_the_photos_is_read(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        put(tmp_path, *named(f"{split}/{{}}.jpg", 4))
        rows = [f"{number}.jpg, {number % 2}, {1 - number % 2}" for number in range(4)]
        (tmp_path / split / "_classes.csv").write_text("\n".join(["filename, cat, dog", *rows]))
    assert labels(tmp_path)["valid/1.jpg"] == "cat"
    assert splits(tmp_path)["valid/2.jpg"] == "validation"
    assert "Classes: by the table train/_classes.csv. --table names another." in said(tmp_path)


def test_a_table_above_the_photos_is_read_and_what_is_to_be_handed_in_is_not(tmp_path: Path) -> None:
    put(tmp_path, *named("train/{}.jpg"), *named("test/1{}.jpg"))
    (tmp_path / "train.csv").write_text("\n".join(["id,label", *(f"{n},{'ab'[n % 2]}" for n in range(10))]))
    (tmp_path / "sample_submission.csv").write_text("\n".join(["id,label", *(f"1{n},a" for n in range(10))]))
    own, words = folders.read(tmp_path, None)
    assert [*own["source"]] == named("train/{}.jpg")
    assert "Left out: 10 photos of test, which has no classes." in words


def test_tables_that_do_not_fit_are_named_where_nothing_else_tells_the_classes(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n1.jpg,cat\n3.jpg,dog\n")
    with pytest.raises(SmallsetError, match=r"If labels.csv is one, name it with --table\."):
        folders.read(tmp_path, None)


def test_photos_in_no_class_folder_and_folders_in_class_folders_are_said(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "cat/tom/1.jpg", "cat/felix/1.jpg", "dog/rex/1.jpg")
    assert "Left out, being in no class folder: 1 photos (1.jpg)." in said(tmp_path)
    assert "Folders in class folders: cat. All photos below count as that class." in said(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "expected photos, found none. Name a folder that has some"),
        (["cat/1.jpg"], "expected two classes or more, found cat. Sort the photos"),
        (["cat/1.jpg", "dog/.x.jpg"], "found cat. .* No photo in dog."),
        (
            ["cat/1.jpg", "Cat/1.jpg", "ox/1.jpg", "OX/1.jpg"],
            "classes differ only in case: Cat, OX, cat, ox. Write them",
        ),
        (["cat/1.jpg", "photos.csv/1.jpg", "a\\b/1.jpg"], r"'a\\b' \(.*\); 'photos.csv' \(photos.csv/1.jpg\)"),
        ([f"{name}/cat/1.jpg" for name in ("train", "val", "valid")], "the folders val, valid are all for validation"),
        (["val/cat/1.jpg", "test/1.jpg", "train/1.jpg"], "expected two classes or more, found train"),
    ],
)
def test_folders_that_are_not_clear_are_errors(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(SmallsetError, match=message):
        folders.read(put(tmp_path, *names), None)


def test_class_folders_of_other_encodings_are_named_by_their_bytes(tmp_path: Path) -> None:
    put(
        tmp_path,
        f"{os.fsdecode('고양이'.encode('cp949'))}/1.jpg",
        f"{os.fsdecode('개'.encode('cp949'))}/1.jpg",
        "cat/1.jpg",
    )
    with pytest.raises(
        SmallsetError, match=r"expected names fit for a folder, of UTF-8, .*'\\xb0\\xb3' .*; '\\xb0\\xed"
    ):
        folders.read(tmp_path, None)


def test_two_spellings_of_one_letter_are_one_class_and_one_place(tmp_path: Path) -> None:
    whole, apart = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    put(tmp_path, f"train/{whole}/{whole}.jpg", f"train/{apart}/{apart}.jpg", "train/dog/1.jpg", "train/dog/2.jpg")
    put(tmp_path, f"val/{apart}/1.jpg", "val/dog/3.jpg", f"test/{whole}/2.jpg", "test/dog/4.jpg")
    own, _ = folders.read(tmp_path, None)
    assert {*own["label"]} == {whole, "dog"}
    assert len({unicodedata.normalize("NFC", place) for place in own["file"]}) == len(own)


def test_all_groups_that_cross_splits_are_named(tmp_path: Path) -> None:
    put(tmp_path, *named("{}.jpg", 12))
    rows = [f"{n}.jpg,{'ab'[n % 2]},{['train', 'val', 'test'][n // 2 % 3]},{n % 2}" for n in range(12)]
    (tmp_path / "table.csv").write_text("\n".join(["file,label,split,group", *rows]))
    with pytest.raises(
        SmallsetError, match="groups cross splits: '0' is in test, train, validation; '1' is in test, tr"
    ):
        folders.read(tmp_path, tmp_path / "table.csv")


def test_a_group_is_drawn_whole_for_a_split_that_there_is_not(tmp_path: Path) -> None:
    put(tmp_path, *named("{}.jpg", 60))
    rows = [f"{n}.jpg,{'ab'[n % 2]},{'test' if n >= 50 else 'train'},{n // 5}" for n in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["file,label,split,group", *rows]))
    own, _ = folders.read(tmp_path, tmp_path / "table.csv")
    assert own.groupby("group")["split"].nunique().eq(1).all()
    assert 5 <= (own["split"] == "validation").sum() <= 15
