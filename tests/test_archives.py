"""The layouts of the dogs-vs-cats archive, and archives that nobody should trust."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from albums import put

from smallset.datasets import archives
from smallset.pipeline.errors import SmallsetError

MICROSOFT = ["PetImages/Cat/7.jpg", "PetImages/Dog/12.jpg", "PetImages/Cat/Thumbs.db", "readme[1].txt"]
KAGGLE = ["train/cat.7.jpg", "train/dog.12.jpg"]


def make_zip(names: Iterable[str], content: bytes = b"", kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip whose entries contain their own names, or `content`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), content or name.encode(), kind)  # always with the same date
    return buffer.getvalue()


def unpack(source: Path) -> dict[str, bytes]:
    target = source.parent / "raw"
    target.mkdir()
    archives.unpack(source, target)
    return {str(path.relative_to(target)): path.read_bytes() for path in sorted(target.rglob("*.*"))}


@pytest.mark.parametrize("names", [MICROSOFT, KAGGLE])
@pytest.mark.parametrize("kind", ["zip", "zip in a zip", "zip in a folder", "folder"])
def test_an_archive_becomes_class_folders(tmp_path: Path, names: list[str], kind: str) -> None:
    source, content = tmp_path / "a", make_zip(names)
    if "folder" in kind:
        put(source, *names if kind == "folder" else [])
        source.mkdir(exist_ok=True)
    if "zip" in kind:
        path = source / "train.zip" if source.is_dir() else source
        path.write_bytes(make_zip(["train.zip"], content) if kind == "zip in a zip" else content)
    copies = unpack(source)
    assert [*copies] == ["cat/cat.7.jpg", "dog/dog.12.jpg"]
    assert copies["cat/cat.7.jpg"].endswith(names[0].encode())


BOMB = make_zip(KAGGLE, bytes(10**7))
BROKEN, OUTSIDE = "not a complete zip file .* get it again", "entry .* points outside the archive. Do not trust it"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((make_zip([*KAGGLE, f"{name}cat.1.jpg"]), OUTSIDE) for name in ("../x/", "/etc/", "train/../../", "..\\")),
        (BOMB, "would unpack to 20,000,000 bytes, more than 20 times its"),
        (make_zip(["train.zip"], BOMB, zipfile.ZIP_STORED), "would unpack to 20,000,000 bytes, more than 20 times its"),
        *((make_zip(KAGGLE)[:end], BROKEN) for end in (0, 40, -30)),
        (make_zip(["images/1.png"]), "no photo of cats or dogs. Expected PetImages/Cat/0.jpg, .*; found images/1.png"),
        (make_zip(["train/cat.7.jpg", "validation/cat.7.jpg"]), "entry 'validation/cat.7.jpg' is a second cat 7"),
    ],
)
def test_hostile_and_broken_zips_and_other_layouts_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(SmallsetError, match=f"a.zip.*: {message}"):
        unpack(tmp_path / "a.zip")
    assert {path.name for path in (tmp_path / "raw").rglob("*.*")} <= {"cat.7.jpg"}


def test_a_link_that_points_outside_and_a_missing_archive_are_refused(tmp_path: Path) -> None:
    (put(tmp_path, "secret", "unpacked/dog.1.jpg") / "unpacked/cat.1.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(SmallsetError, match=f"unpacked: {OUTSIDE}"):
        archives.unpack(tmp_path / "unpacked", tmp_path)
    with pytest.raises(SmallsetError, match=r"none.zip: no such file or folder. Set SMALLSET_ARCHIVE"):
        archives.unpack(tmp_path / "none.zip", tmp_path)
