"""How a folder of photos is understood: labels, splits, and the sentences that say so."""

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


def many(pattern: str, count: int = 10) -> list[str]:
    return [pattern.format(number) for number in range(count)]


def column(name: str, folder: Path, table: Path | None = None) -> dict[str, str]:
    dataset, _ = folders.read_folder(folder, table)
    return dict(zip(dataset.table["file"], dataset.table[name], strict=True))


def notes(folder: Path) -> str:
    return "\n".join(folders.read_folder(folder)[1])


def test_plain_class_folders_need_no_explanation(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.jpg", "cat/10.jpg", "cat/9.jpg")
    dataset, lines = folders.read_folder(tmp_path)
    assert dataset.table["file"].tolist() == ["cat/9.jpg", "cat/10.jpg", "dog/1.jpg"]
    assert dataset.classes == ("cat", "dog")
    assert dataset.paths[0] == tmp_path / "cat/9.jpg"
    assert {*dataset.table["split"], *dataset.table["group"], *dataset.sha256} == {""}
    assert lines == []


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
    for name in names:
        put(tmp_path, f"{around}{name}/cat/1.jpg", f"{around}{name}/dog/1.jpg")
    splits = column("split", tmp_path)
    for name, split in zip(names, ("train", "validation", "test"), strict=True):
        assert splits[f"{around}{name}/cat/1.jpg"] == splits[f"{around}{name}/dog/1.jpg"] == split
    assert {*column("label", tmp_path).values()} == {"cat", "dog"}
    assert "Splits: by the folders " in notes(tmp_path)
    assert ("The folder of photos is archive" in notes(tmp_path)) == bool(around)


@pytest.mark.parametrize(("other", "missing"), [("val", "test"), ("Testing", "validation")])
def test_a_missing_split_is_drawn_from_the_training_photos(tmp_path: Path, other: str, missing: str) -> None:
    put(tmp_path, *many(f"{other}/cat/{{}}.jpg", 4), *many(f"{other}/dog/{{}}.jpg", 4))
    put(tmp_path, *many("train/cat/{}.jpg", 20), *many("train/dog/{}.jpg", 7))
    splits = column("split", tmp_path)
    drawn = [path for path, split in splits.items() if split == missing]
    assert [sum(path.startswith(f"train/{name}/") for path in drawn) for name in ("cat", "dog")] == [4, 1]
    assert len(drawn) == 5
    assert column("split", tmp_path) == splits
    assert f"Nothing is for {missing}, so one in 5 of the training photos of each class is drawn" in notes(tmp_path)


def test_a_group_is_drawn_as_a_whole(tmp_path: Path) -> None:
    put(tmp_path, *many("{}.jpg", 60))
    rows = [f"{n}.jpg,{'ab'[n % 2]},{'test' if n >= 50 else 'train'},{n // 5}" for n in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["file,label,split,group", *rows]))
    table = folders.read_folder(tmp_path, tmp_path / "table.csv")[0].table
    assert table.groupby("group")["split"].nunique().eq(1).all()
    assert 5 <= (table["split"] == "validation").sum() <= 15


def test_a_test_folder_without_classes_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, *many("train/cat.{}.jpg"), *many("train/dog.{}.jpg"), *many("test1/{}.jpg"))
    dataset, lines = folders.read_folder(tmp_path)
    assert {*dataset.table["split"]} == {""}
    assert dataset.table["label"].value_counts().to_dict() == {"cat": 10, "dog": 10}
    assert "Left out: 10 photos in test1, which has no classes." in lines
    assert "All photos with classes are for train, so all splits are drawn." in lines


def test_folders_beside_the_splits_are_left_out(tmp_path: Path) -> None:
    for split in ("seg_train", "seg_test"):
        put(tmp_path, *many(f"{split}/{split}/sea/{{}}.jpg"), *many(f"{split}/{split}/forest/{{}}.jpg"))
    put(tmp_path, *many("seg_pred/seg_pred/{}.jpg", 3), "loose.jpg")
    assert {*column("split", tmp_path).values()} == {"train", "validation", "test"}
    assert "Left out: 3 photos in seg_pred, which is not a split." in notes(tmp_path)
    assert "Left out: 1 photos in no folder, which is not a split." in notes(tmp_path)


def test_a_split_may_have_a_single_class(tmp_path: Path) -> None:
    put(tmp_path, *(f"{split}/{label}/1.jpg" for split in ("train", "val") for label in ("cat", "dog", "ox")))
    put(tmp_path, "test/inner/cat/1.jpg")
    assert column("label", tmp_path)["test/inner/cat/1.jpg"] == "cat"


def test_splits_may_be_inside_of_class_folders(tmp_path: Path) -> None:
    put(tmp_path, *(f"{label}/{split}/1.jpg" for label in ("cat", "dog") for split in ("train", "val", "test")))
    assert column("label", tmp_path)["cat/val/1.jpg"] == "cat"
    assert column("split", tmp_path)["cat/val/1.jpg"] == "validation"


@pytest.mark.parametrize(
    "classes", [("train", "bus"), ("train", "tram", "car"), ("train station", "test tube"), ("valley", "training shoe")]
)
def test_classes_may_have_names_like_splits(tmp_path: Path, classes: tuple[str, ...]) -> None:
    put(tmp_path, *(f"{name}/old/1.jpg" for name in classes))
    assert {*column("label", tmp_path).values()} == {*classes}


@pytest.mark.parametrize("around", ["data/", "a/b/c/", "train/"])
def test_class_folders_may_be_deeper(tmp_path: Path, around: str) -> None:
    put(tmp_path, f"{around}cat/1.jpg", f"{around}dog/1.jpg")
    (tmp_path / "notes").mkdir()
    assert column("label", tmp_path) == {f"{around}cat/1.jpg": "cat", f"{around}dog/1.jpg": "dog"}
    assert f"The folder of photos is {around}, which contains all of them." in notes(tmp_path)
    assert "Folders without a photo: notes." in notes(tmp_path)


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
    put(tmp_path, *(name for pattern in patterns for name in many(pattern)))
    assert {*column("label", tmp_path).values()} == expected
    assert "Classes: by the names of the files (" in notes(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg"],
        [*many("IMG_{}.jpg"), *many("DSC_{}.jpg")],
        [*many("IMG_2023010{}_123456.jpg"), *many("PXL_2023010{}_123456.jpg")],
        [*many("WhatsApp Image 2023-01-0{} at 12.00.00.jpg"), *many("photo_{}.jpg")],
        ["tom1.jpg", "felix2.jpg", "rex3.jpg"],
        [*many("cat.{}.jpg"), *many("dog.{}.jpg"), "unknown.jpg"],
        many("cat.{}.jpg"),
    ],
)
def test_other_file_names_are_not_classes(tmp_path: Path, names: list[str]) -> None:
    put(tmp_path, *names)
    with pytest.raises(
        SmallsetError, match="expected at least two classes, found none. Sort the photos into one folder"
    ):
        folders.read_folder(tmp_path)


def test_naming_a_class_folder_leads_to_the_folder_above(tmp_path: Path) -> None:
    put(tmp_path, "pets/cat/1.jpg", "pets/dog/1.jpg")
    with pytest.raises(SmallsetError, match=f"If the classes are cat, dog, name the folder {tmp_path}/pets"):
        folders.read_folder(tmp_path / "pets/cat")


def test_a_table_beside_the_photos_is_read(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        put(tmp_path, *many(f"{split}/{{}}.jpg", 4))
        rows = [f"{number}.jpg, {number % 2}, {1 - number % 2}" for number in range(4)]
        (tmp_path / split / "_classes.csv").write_text("\n".join(["filename, cat, dog", *rows]))
    assert column("label", tmp_path)["valid/1.jpg"] == "cat"
    assert column("split", tmp_path)["valid/2.jpg"] == "validation"
    assert "Classes: by the table train/_classes.csv. Name another to change this." in notes(tmp_path)


def test_a_table_above_the_photos_is_read_except_a_sample_submission(tmp_path: Path) -> None:
    put(tmp_path, *many("train/{}.jpg"), *many("test/1{}.jpg"))
    (tmp_path / "train.csv").write_text("\n".join(["id,label", *(f"{n},{'ab'[n % 2]}" for n in range(10))]))
    (tmp_path / "sample_submission.csv").write_text("\n".join(["id,label", *(f"1{n},a" for n in range(10))]))
    assert sorted(column("label", tmp_path)) == many("train/{}.jpg")
    assert "Left out: 10 photos in test, which has no classes." in notes(tmp_path)


def test_a_table_that_does_not_fit_is_suggested(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n1.jpg,cat\n3.jpg,dog\n")
    with pytest.raises(SmallsetError, match=r"If labels.csv is such a table, name it with --table\."):
        folders.read_folder(tmp_path)


def test_loose_photos_and_inner_folders_are_mentioned(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "cat/tom/1.jpg", "cat/felix/1.jpg", "dog/rex/1.jpg")
    assert {*column("label", tmp_path).values()} == {"cat", "dog"}
    assert "Left out, because they are in no class folder: 1 photos (1.jpg)." in notes(tmp_path)
    assert "Folders inside of class folders: cat. All photos in them count as that class." in notes(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
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


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    cat, dog = (os.fsdecode(name.encode("cp949")) for name in ("고양이", "개"))
    put(tmp_path, f"cat/{cat}.jpg", "cat/1.jpg", "dog/1.jpg")
    assert column("label", tmp_path) == {"cat/1.jpg": "cat", "dog/1.jpg": "dog"}
    assert r"Left out, because their names are not UTF-8: 1 photos (cat/\xb0\xed" in notes(tmp_path)
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
