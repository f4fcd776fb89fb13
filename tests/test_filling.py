"""Every source ends as class folders, with what is known of splits and groups beside them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from smallset.photos import lists
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError
from smallset.sources import arrangements, filling, splits

NOWHERE = "http://127.0.0.1:9/archive.zip"  # the discard port: refused at once


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMALLSET_ARCHIVE", raising=False)
    monkeypatch.setenv("PATH", "")  # no Kaggle client


def fill(document: Any, tmp_path: Path, **download: object) -> dict[str, Any]:
    p = params.parse(document | {"download": document["download"] | download})
    target = tmp_path / "raw"
    target.mkdir()
    return filling.fill(target, tmp_path / "downloads", p.download, seed=0)


def test_a_folder_is_copied_and_left_as_it_was(document: Any, tmp_path: Path, drawn: lists.Photos) -> None:
    before = {path: Path(path).stat() for path in drawn.paths()}
    record = fill(document, tmp_path, source="folder", folder=str(drawn.folder))
    assert record["photos"] == {"cat": 5, "dog": 5}
    assert lists.find(tmp_path / "raw").files == drawn.files
    after = {path: Path(path).stat() for path in drawn.paths()}
    for path, stat in before.items():
        assert (after[path].st_mtime_ns, after[path].st_mode, after[path].st_nlink) == (
            stat.st_mtime_ns,
            stat.st_mode,
            1,
        )


def put(folder: Path, *names: str) -> Path:
    """Files that say their own names: `download` does not decode."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def take(document: Any, tmp_path: Path, table: str | None = None) -> tuple[dict[str, str], list[str]]:
    """What data/raw holds after a download from own/: origin by place, and the lines of photos.csv."""
    if table is not None:
        (tmp_path / "table.csv").write_text(table, encoding="utf-8")
    name = None if table is None else str(tmp_path / "table.csv")
    fill(document, tmp_path, source="folder", folder=str(tmp_path / "own"), table=name)
    index = tmp_path / "raw/photos.csv"
    found = lists.find(tmp_path / "raw")
    return (
        {file: Path(path).read_text() for file, path in zip(found.files, found.paths(), strict=True)},
        index.read_text(encoding="utf-8").splitlines() if index.exists() else [],
    )


def test_class_folders_may_have_blanks_other_letters_folders_of_their_own_and_other_files(
    document: Any, tmp_path: Path
) -> None:
    put(
        tmp_path / "own",
        "큰 고양이/10.jpg",
        "큰 고양이/9.jpg",
        "car/1.jpg",
        "car/b/1.jpg",
        "train/1.jpg",
        "train/notes",
    )
    put(tmp_path / "own", "README.txt", ".git/x", "car/.hidden.jpg", "car/.thumbs/1.jpg")
    put(tmp_path / "own", "__MACOSX/car/1.jpg", "car/Thumbs.db", "train/desktop.ini")
    found, index = take(document, tmp_path)
    assert found == {
        "car/1.jpg": "car/1.jpg",
        "car/b-1.jpg": "car/b/1.jpg",
        "train/1.jpg": "train/1.jpg",  # a class of vehicles: it holds no folders
        "train/notes": "train/notes",
        "큰 고양이/9.jpg": "큰 고양이/9.jpg",
        "큰 고양이/10.jpg": "큰 고양이/10.jpg",
    }
    assert index == []


@pytest.mark.parametrize(
    "names", [("train", "validation", "test"), ("Train", "val", "TEST"), ("train", "valid", "test")]
)
def test_folders_of_splits_are_kept_in_the_index(document: Any, tmp_path: Path, names: tuple[str, str, str]) -> None:
    train, validation, test = names
    put(tmp_path / "own", f"{train}/cat/1.jpg", f"{train}/dog/a.jpg", f"{train}/dog/b.jpg")
    put(
        tmp_path / "own", f"{validation}/cat/2.jpg", f"{validation}/dog/1.jpg", f"{test}/cat/1.jpg", f"{test}/dog/2.jpg"
    )
    found, index = take(document, tmp_path)
    assert found[f"cat/{train}-1.jpg"] == f"{train}/cat/1.jpg"
    assert found[f"cat/{test}-1.jpg"] == f"{test}/cat/1.jpg"
    assert index[0] == "file,label,split"
    assert sorted(index[1:]) == sorted(
        [
            f"cat/{train}-1.jpg,cat,train",
            f"cat/{test}-1.jpg,cat,test",
            *["cat/2.jpg,cat,validation", "dog/1.jpg,dog,validation", "dog/2.jpg,dog,test"],
            *["dog/a.jpg,dog,train", "dog/b.jpg,dog,train"],
        ]
    )


def test_a_table_names_labels_and_groups(document: Any, tmp_path: Path) -> None:
    put(tmp_path / "own", "a/1.jpg", "b/1.jpg", "2, b.jpg", "unlisted.jpg")
    table = '\ufefffile, label, group\na/1.jpg,cat,x\n"2, b.jpg",개,\n\nb/1.jpg,cat,NA\n'
    found, index = take(document, tmp_path, table)
    assert found == {"cat/a-1.jpg": "a/1.jpg", "cat/b-1.jpg": "b/1.jpg", "개/2, b.jpg": "2, b.jpg"}
    assert index == ["file,label,group", "cat/a-1.jpg,cat,x", '"개/2, b.jpg",개,', "cat/b-1.jpg,cat,NA"]


def test_a_table_without_splits_or_groups_needs_no_index(document: Any, tmp_path: Path) -> None:
    put(tmp_path / "own", "1.jpg", "2.jpg")
    assert take(document, tmp_path, "label,file\ncat,1.jpg\ndog,./2.jpg\n") == (
        {"cat/1.jpg": "1.jpg", "dog/2.jpg": "2.jpg"},
        [],
    )


@pytest.mark.parametrize(
    ("sources_", "expected"),
    [
        (["a/1.jpg", "b/2.jpg"], ["1.jpg", "2.jpg"]),
        (["a/1.jpg", "b/1.JPG", "2.jpg"], ["a-1.jpg", "b-1.JPG", "2.jpg"]),
        (["x/cat/1.jpg", "cat/x/1.jpg"], ["x-1.jpg", "x-1-2.jpg"]),  # without the class, both are x/1.jpg
        (["a/1.jpg", "1.jpg", "a-1.jpg"], ["a-1.jpg", "1.jpg", "a-1-2.jpg"]),
    ],
)
def test_names_are_made_unique(sources_: list[str], expected: list[str]) -> None:
    found = pd.DataFrame({"source": sources_, "label": "cat"})
    assert arrangements.places(found) == [f"cat/{name}" for name in expected]


def test_two_spellings_of_one_letter_are_one_class(document: Any, tmp_path: Path) -> None:
    whole, apart = "\uac00", "\u1100\u1161"
    splits_ = [f"{split}/{name}/1.jpg" for split in ("train", "val", "test") for name in (whole, "dog")]
    put(tmp_path / "own", *splits_[:-2], f"test/{apart}/1.jpg", "test/dog/1.jpg")
    assert {file.partition("/")[0] for file in take(document, tmp_path)[0]} == {whole, "dog"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "own: expected two classes or more, found none. Sort the photos into one folder for each class"),
        (["1.jpg", "2.jpg"], "own: expected two classes or more, found none. Sort the photos"),
        (["cat/1.jpg"], "own: expected two classes or more, found cat. Sort the photos"),
        (["a/b/cat/1.jpg", "a/b/dog/1.jpg"], r"found a\. Name .*own/a/b, if its folders \(cat, dog\) are the classes"),
        (["a/train/cat/1.jpg", "a/val/cat/1.jpg"], r"found a\. Name .*own/a, if its folders \(train, val\)"),
        (["cat/1.jpg", "dog/.x.jpg"], "dog: no photo there. Add photos of that class, or take its folder away"),
        (["cat/1.jpg", "Cat/1.jpg"], "own: two classes differ only in case: Cat, cat. Write them alike"),
        (["cat/1.jpg", "photos.csv/1.jpg"], "photos.csv/1.jpg: label: expected a name fit for a folder"),
        (["train/cat/1.jpg", "test/cat/1.jpg"], "expected the folders train, .* found test, train. Add or rename"),
        (
            ["train/cat/1.jpg", "val/cat/1.jpg", "valid/cat/1.jpg", "test/cat/1.jpg"],
            "expected the folders train, validation .* found test, train, val, valid",
        ),
        (["train/cat/1.jpg", "val/cat/1.jpg", "test/1.jpg"], "own.test: expected class folders, found none"),
        (
            [f"{split}/{label}/1.jpg" for split in ("train", "val", "test") for label in ("cat", "dog")][:-1],
            "own: no photo of dog in test. Add some there, or name no splits",
        ),
    ],
)
def test_folders_that_are_not_clear_are_errors(document: Any, tmp_path: Path, names: list[str], message: str) -> None:
    put(tmp_path / "own", *names).mkdir(exist_ok=True)
    with pytest.raises(SmallsetError, match=message):
        take(document, tmp_path)
    assert not list((tmp_path / "raw").iterdir())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "expected the columns file, label, .* found nothing"),
        ("file;label\n", "expected .* with commas between; found file;label"),
        ("file,label,groups\n", "expected .* found file, label, groups. Add, rename or take away columns"),
        ("file,label,label\n", "expected .* found file, label, label"),
        ("file,label\n", "expected a line for each photo, found none"),
        ("file,label\n1.jpg,cat\n\n3.jpg,dog\n", "line 4: file: .*3.jpg is missing. Correct the line"),
        ("file,label\n../raw/x,cat\n", "line 2: file: expected the path of a photo below .* found '../raw/x'"),
        ("file,label\na/../1.jpg,cat\n", "line 2: file: expected the path of a photo below"),
        ("file,label\n/etc/passwd,cat\n", "line 2: file: expected the path of a photo below"),
        ("file,label\n,cat\n", "line 2: file: expected the path of a photo below .* found ''"),
        ("file,label\n1.jpg,cat\n./1.jpg,dog\n", "line 3: 1.jpg is in line 2 already"),
        ("file,label\n1.jpg,cat,x\n", "line 2: more cells than columns. Put a name with a comma in quotes"),
        ('file,label\n"1.jpg,cat\n', "not a CSV"),
        ("file,label\n1.jpg\n2.jpg,cat\n", "1.jpg: label: expected a name .* found ''"),
        ("file,label\n1.jpg,cat/dog\n2.jpg,cat\n", "1.jpg: label: .* found 'cat/dog'"),
        ("file,label\n1.jpg,..\n2.jpg,cat\n", "1.jpg: label: .* found '..'"),
        ("file,label\n1.jpg,cat\n2.jpg,Cat\n", "two classes differ only in case: Cat, cat"),
        ("file,label,split\n1.jpg,cat,dev\n", "line 2: split: expected train, .* or test, found 'dev'"),
        ("file,label,split\n1.jpg,cat,train\n2.jpg,dog,train\n", "no photo of cat in test, validation"),
    ],
)
def test_a_table_that_is_not_clear_is_an_error_with_its_line(
    document: Any, tmp_path: Path, table: str, message: str
) -> None:
    put(tmp_path / "own", "1.jpg", "2.jpg")
    with pytest.raises(SmallsetError, match=f"table.csv: {message}"):
        take(document, tmp_path, table)
    assert not list((tmp_path / "raw").iterdir())


def test_a_group_that_crosses_splits_is_an_error(document: Any, tmp_path: Path) -> None:
    names = [f"{split}-{label}" for split in ("train", "val", "test") for label in ("cat", "dog")]
    put(tmp_path / "own", *names)
    lines = ["file,label,split,group"]
    for name, group in zip(names, ["a", "", "", "", "b", "a"], strict=True):
        split, _, label = name.partition("-")
        lines.append(f"{name},{label},{split},{group}")
    with pytest.raises(SmallsetError, match="group 'a' crosses splits: it is in test, train. Give all its photos one"):
        take(document, tmp_path, "\n".join(lines))


def test_a_table_in_another_encoding_names_the_cure(document: Any, tmp_path: Path) -> None:
    put(tmp_path / "own", "1.jpg")
    (tmp_path / "table.csv").write_bytes("file,label\n1.jpg,고양이\n".encode("cp949"))
    download = {"source": "folder", "folder": str(tmp_path / "own"), "table": str(tmp_path / "table.csv")}
    with pytest.raises(SmallsetError, match="table.csv: expected UTF-8 text. Save it as CSV in UTF-8"):
        fill(document, tmp_path, **download)


@pytest.mark.parametrize(
    ("download", "message"),
    [
        ({"folder": None}, "download: folder: expected a folder of photos, found None"),
        ({"folder": "missing"}, "download: folder: expected a folder of photos, found 'missing'"),
        ({"folder": None, "table": "table.csv"}, "download: folder: expected a folder of photos, found None"),
        ({"folder": "own", "table": "missing.csv"}, "missing.csv: no such table. download.table names a CSV file"),
        ({"folder": "."}, "download: folder: expected a folder of photos alone, found '.', which holds this pipeline"),
    ],
)
def test_a_folder_or_table_that_is_not_there_is_named(
    document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: dict[str, Any], message: str
) -> None:
    put(tmp_path / "own", "cat/1.jpg", "dog/1.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SmallsetError, match=message):
        fill(document, tmp_path, source="folder", **download)


def test_an_index_serves_the_subset(document: Any, tmp_path: Path, drawn: lists.Photos) -> None:
    splits_ = ["train", "train", "train", "validation", "test"]
    lines = [f"{file},{file[:3]},{splits_[number % 5]}" for number, file in enumerate(drawn.files)]
    (tmp_path / "table.csv").write_text("\n".join(["file,label,split", *lines]))
    fill(document, tmp_path, source="folder", folder=str(drawn.folder), table=str(tmp_path / "table.csv"))
    given = params.Subset(by="given", train=None, validation=None, test=None)
    record = splits.copy_subset(tmp_path / "raw", tmp_path / "subset", given, 0)
    assert record["photos"] == {
        split: {"cat": splits_.count(split), "dog": splits_.count(split)} for split in ("train", "validation", "test")
    }


def test_the_sample_says_that_it_is_drawn(document: Any, tmp_path: Path) -> None:
    record = fill(document, tmp_path, source="sample", sample={"photos": 2, "side": 32})
    assert record["source"] == "sample: drawn by smallset, not photographed"
    assert record["photos"] == {"cat": 2, "dog": 2}
