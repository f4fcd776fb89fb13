"""Every source ends as class folders, with what is known of splits and groups beside them."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from smallset.datasets import filling, lists, names, splits
from smallset.pipeline import files, params
from smallset.pipeline.errors import SmallsetError

JPEG = b"\xff\xd8\xff\xe0"
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
    """Files that begin as photos do, and say their own names: `download` does not decode."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG + os.fsencode(name))
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
        {
            file: os.fsdecode(Path(path).read_bytes().removeprefix(JPEG))
            for file, path in zip(found.files, found.paths(), strict=True)
        },
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
        "train/photo",
    )
    put(tmp_path / "own", ".git/x", "car/.hidden.jpg", "car/.thumbs/1.jpg", "car/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg")
    put(tmp_path / "own", "__MACOSX/car/1.jpg", "car/Thumbs.db", "train/desktop.ini", "@eaDir/car/1.jpg")
    for name in ("README.txt", "train/1.jpg.json", "train/notes"):
        (tmp_path / "own" / name).write_text("no photo")
    found, index = take(document, tmp_path)
    assert found == {
        "car/1.jpg": "car/1.jpg",
        "car/b-1.jpg": "car/b/1.jpg",
        "train/1.jpg": "train/1.jpg",  # a class of vehicles: it holds no folders
        "train/photo": "train/photo",
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
    assert names.places(found) == [f"cat/{name}" for name in expected]


def test_two_spellings_of_one_letter_are_one_class(document: Any, tmp_path: Path) -> None:
    whole, apart = "\uac00", "\u1100\u1161"
    splits_ = [f"{split}/{name}/1.jpg" for split in ("train", "val", "test") for name in (whole, "dog")]
    put(tmp_path / "own", *splits_[:-2], f"test/{apart}/1.jpg", "test/dog/1.jpg")
    assert {file.partition("/")[0] for file in take(document, tmp_path)[0]} == {whole, "dog"}


def test_a_photo_that_breaks_off_in_copying_is_left_out_with_its_name(
    document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "own", "cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
    table = "file,label,group\ncat/1.jpg,cat,a\ncat/2.jpg,cat,b\ndog/1.jpg,dog,c\n"
    copy = files.copy

    def torn(source: Path, target: Path) -> None:
        if source == tmp_path / "own/cat/2.jpg":
            target.write_bytes(b"half of it")
            raise OSError(5, "Input/output error")
        copy(source, target)

    monkeypatch.setattr(files, "copy", torn)
    found, index = take(document, tmp_path, table)
    assert [*found] == ["cat/1.jpg", "dog/1.jpg"]
    assert index == ["file,label,group", "cat/1.jpg,cat,a", "dog/1.jpg,dog,c"]
    assert "Not read: 1 cannot be read: Input/output error (cat/2.jpg)." in capsys.readouterr().out


def test_what_a_link_outside_points_to_is_not_copied(
    document: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "own", "cat/1.jpg", "dog/1.jpg")
    put(tmp_path, "secret.jpg")
    (tmp_path / "own/dog/2.jpg").symlink_to(tmp_path / "secret.jpg")
    assert [*take(document, tmp_path)[0]] == ["cat/1.jpg", "dog/1.jpg"]
    said = capsys.readouterr().out
    assert "Copied 2 photos of 2 classes." in said
    assert "Not read: 1 a link that leads out of the folder: put a copy in its place (dog/2.jpg)." in said


def test_a_name_made_of_many_folders_stays_short_enough(document: Any, tmp_path: Path) -> None:
    deep = "/".join(["고양이" * 9] * 8)
    put(tmp_path / "own", f"cat/a{deep}/1.jpg", f"cat/b{deep}/1.jpg", "dog/1.jpg")
    found, _ = take(document, tmp_path)
    assert len(found) == 3
    assert all(len(os.fsencode(Path(name).name)) <= 200 and name.endswith("1.jpg") for name in found)


def test_a_name_that_is_not_utf_8_is_copied_by_one_that_is(document: Any, tmp_path: Path) -> None:
    put(tmp_path / "own", "cat/" + os.fsdecode(b"\xb0\xed" * 120) + ".jpg", "dog/1.jpg")
    name, _ = take(document, tmp_path)[0]
    assert len(name.encode()) <= 204
    assert name.endswith("\ufffd.jpg")


def test_a_group_that_crosses_splits_is_an_error(document: Any, tmp_path: Path) -> None:
    names = [f"{split}-{label}" for split in ("train", "val", "test") for label in ("cat", "dog")]
    put(tmp_path / "own", *names)
    lines = ["file,label,split,group"]
    for name, group in zip(names, ["a", "", "", "", "b", "a"], strict=True):
        split, _, label = name.partition("-")
        lines.append(f"{name},{label},{split},{group}")
    with pytest.raises(
        SmallsetError, match="groups cross splits: 'a' is in test, train. Give all photos of a group one"
    ):
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
        ({"folder": "own", "table": "missing.csv"}, "missing.csv: no such table. download.table names a CSV or"),
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
