"""The layouts of the dogs-vs-cats archive, and archives that nobody should trust."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from smallset.datasets import archives
from smallset.pipeline.errors import SmallsetError

MICROSOFT = ["PetImages/Cat/7.jpg", "PetImages/Dog/12.jpg", "PetImages/Cat/Thumbs.db", "readme[1].txt"]
KAGGLE = ["train/cat.7.jpg", "train/dog.12.jpg"]


def make_zip(names: Iterable[str], content: bytes = b"", kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip whose entries contain their own names, or `content`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name in names:
            archive.writestr(name, content or name.encode())
    return buffer.getvalue()


def unpack(source: Path, tmp_path: Path) -> dict[str, str]:
    target = tmp_path / "raw"
    target.mkdir()
    archives.unpack(source, target)
    return {str(path.relative_to(target)): path.read_text() for path in target.rglob("*.*")}


@pytest.mark.parametrize("names", [MICROSOFT, KAGGLE])
@pytest.mark.parametrize("nested", [False, True])
def test_a_zip_becomes_class_folders(tmp_path: Path, names: list[str], nested: bool) -> None:
    inner = make_zip(names)
    (tmp_path / "a.zip").write_bytes(make_zip(["train.zip"], inner) if nested else inner)
    assert unpack(tmp_path / "a.zip", tmp_path) == {"cat/cat.7.jpg": names[0], "dog/dog.12.jpg": names[1]}


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_may_contain_the_photos_or_train_zip(tmp_path: Path, packed: bool) -> None:
    for name, content in (
        {"train.zip": make_zip(KAGGLE)}.items() if packed else ((name, name.encode()) for name in KAGGLE)
    ):
        (tmp_path / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "unpacked" / name).write_bytes(content)
    assert unpack(tmp_path / "unpacked", tmp_path) == {"cat/cat.7.jpg": KAGGLE[0], "dog/dog.12.jpg": KAGGLE[1]}


@pytest.mark.parametrize("name", ["../x/cat.1.jpg", "/etc/cat.1.jpg", "train/../../cat.1.jpg", "..\\cat.1.jpg"])
def test_an_entry_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.zip").write_bytes(make_zip([*KAGGLE, name]))
    with pytest.raises(SmallsetError, match=r"a.zip: entry .* points outside the archive. Do not trust it"):
        unpack(tmp_path / "a.zip", tmp_path)
    assert not [*(tmp_path / "raw").iterdir()]


def test_a_link_that_points_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "unpacked/cat.1.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(SmallsetError, match=r"unpacked: entry 'cat.1.jpg' points outside the archive. Do not trust it"):
        unpack(tmp_path / "unpacked", tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_a_zip_bomb_is_refused(tmp_path: Path, nested: bool) -> None:
    bomb = make_zip(KAGGLE, bytes(10**7))
    (tmp_path / "a.zip").write_bytes(make_zip(["train.zip"], bomb, zipfile.ZIP_STORED) if nested else bomb)
    with pytest.raises(SmallsetError, match="would unpack to 20,000,000 bytes, more than 20 times its"):
        unpack(tmp_path / "a.zip", tmp_path)
    assert not [*(tmp_path / "raw").iterdir()]


@pytest.mark.parametrize("end", [0, 40, -30])
def test_a_truncated_zip_is_refused(tmp_path: Path, end: int) -> None:
    (tmp_path / "a.zip").write_bytes(make_zip(KAGGLE)[:end])
    with pytest.raises(SmallsetError, match=r"a.zip: not a complete zip file .* get it again"):
        unpack(tmp_path / "a.zip", tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["images/1.png"], r"Expected PetImages/Cat/0.jpg, .*; found images/1.png"),
        (["train/cat.7.jpg", "validation/cat.7.jpg"], r"entry 'validation/cat.7.jpg' is a second cat 7"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "a.zip").write_bytes(make_zip(names))
    with pytest.raises(SmallsetError, match=message):
        unpack(tmp_path / "a.zip", tmp_path)
    with pytest.raises(SmallsetError, match=r"none.zip: no such file or folder. SMALLSET_ARCHIVE"):
        archives.unpack(tmp_path / "none.zip", tmp_path)
