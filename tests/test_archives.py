"""The three layouts of the dogs-vs-cats archive, and archives that must not be trusted."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from smallset.datasets import archives
from smallset.pipeline.errors import SmallsetError


def make_zip(target: Path | io.BytesIO, names: Iterable[str]) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())


def unpacked(source: Path, tmp_path: Path) -> dict[str, str]:
    target = tmp_path / "raw"
    target.mkdir()
    archives.unpack(source, target)
    return {str(path.relative_to(target)): path.read_text() for path in target.rglob("*.*")}


MICROSOFT = ["PetImages/Cat/7.jpg", "PetImages/Dog/12.jpg", "PetImages/Cat/Thumbs.db", "readme[1].txt"]
KAGGLE = ["train/cat.7.jpg", "train/dog.12.jpg"]


@pytest.mark.parametrize("names", [MICROSOFT, KAGGLE])
def test_both_layouts_become_class_folders(tmp_path: Path, names: list[str]) -> None:
    make_zip(tmp_path / "a.zip", names)
    assert unpacked(tmp_path / "a.zip", tmp_path) == {"cat/cat.7.jpg": names[0], "dog/dog.12.jpg": names[1]}


def test_a_train_zip_inside_a_zip_is_read(tmp_path: Path) -> None:
    inner = io.BytesIO()
    make_zip(inner, KAGGLE)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train.zip", inner.getvalue())
        archive.writestr("test1.zip", b"never opened")
    assert unpacked(tmp_path / "a.zip", tmp_path) == {"cat/cat.7.jpg": KAGGLE[0], "dog/dog.12.jpg": KAGGLE[1]}


def test_a_folder_is_read_like_a_zip(tmp_path: Path) -> None:
    for name in KAGGLE:
        path = tmp_path / "unpacked" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert unpacked(tmp_path / "unpacked", tmp_path) == {"cat/cat.7.jpg": KAGGLE[0], "dog/dog.12.jpg": KAGGLE[1]}


@pytest.mark.parametrize("name", ["../x/cat.1.jpg", "/etc/cat.1.jpg", "train/../../cat.1.jpg", "..\\cat.1.jpg"])
def test_an_entry_that_points_outside_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    make_zip(tmp_path / "a.zip", [*KAGGLE, name])
    with pytest.raises(SmallsetError, match=r"a.zip: entry .* points outside the archive. Do not trust it"):
        unpacked(tmp_path / "a.zip", tmp_path)
    assert not list((tmp_path / "raw").iterdir())


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "unpacked/cat.1.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(SmallsetError, match=r"unpacked: entry 'cat.1.jpg' points outside the archive. Do not trust it"):
        unpacked(tmp_path / "unpacked", tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_a_zip_that_would_fill_the_disk_is_refused_before_anything_is_written(tmp_path: Path, nested: bool) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in KAGGLE:
            archive.writestr(name, bytes(10**7))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as outer:
        outer.writestr("train.zip", content.getvalue())
    if not nested:
        (tmp_path / "a.zip").write_bytes(content.getvalue())
    with pytest.raises(SmallsetError, match=r"would unpack to 20,000,000 bytes, of .* no more than 20 times its size"):
        unpacked(tmp_path / "a.zip", tmp_path)
    assert not list((tmp_path / "raw").iterdir())


@pytest.mark.parametrize("length", [0, 40, -30])
def test_a_truncated_zip_is_named(tmp_path: Path, length: int) -> None:
    make_zip(tmp_path / "a.zip", KAGGLE)
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:length])
    with pytest.raises(SmallsetError, match=r"a.zip: not a whole, readable zip file .* get it again"):
        unpacked(tmp_path / "a.zip", tmp_path)


def test_changed_bytes_inside_a_zip_are_noticed(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip", KAGGLE)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"train/cat.7.jpgtrain", b"train/cat.7.jpgTRAIN", 1))
    with pytest.raises(SmallsetError, match="Bad CRC-32"):
        unpacked(tmp_path / "a.zip", tmp_path)


def test_another_layout_says_what_was_expected_and_found(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip", ["images/1.png"])
    with pytest.raises(SmallsetError, match=r"Expected PetImages/Cat/0.jpg, .*; found images/1.png"):
        unpacked(tmp_path / "a.zip", tmp_path)


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match=r"none.zip: no such file or folder. SMALLSET_ARCHIVE"):
        archives.unpack(tmp_path / "none.zip", tmp_path)


def test_a_folder_that_holds_train_zip_is_read(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    make_zip(tmp_path / "unpacked" / "train.zip", KAGGLE)
    assert unpacked(tmp_path / "unpacked", tmp_path) == {"cat/cat.7.jpg": KAGGLE[0], "dog/dog.12.jpg": KAGGLE[1]}


def test_a_second_photo_of_one_number_is_named(tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip", ["train/cat.7.jpg", "validation/cat.7.jpg"])
    with pytest.raises(SmallsetError, match=r"entry 'validation/cat.7.jpg' is a second cat 7"):
        unpacked(tmp_path / "a.zip", tmp_path)
