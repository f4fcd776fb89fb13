"""Which files below a folder are photos, in which order, and what all other files are."""

import os
import socket
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smallset.datasets import scan
from smallset.images import formats
from smallset.pipeline.errors import SmallsetError

JPEG = b"\xff\xd8\xff\xe0"


def write(path: Path, content: bytes = JPEG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_first_bytes_decide_what_is_a_photo(tmp_path: Path) -> None:
    for name, content in {
        "cat/1.jpg": JPEG,
        "cat/no extension": b"\x89PNG\r\n\x1a\n",
        "cat/phone.HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "cat/page.jpg": b"<html>",
        "cat/empty.png": b"",
        "cat/1.jpg.xmp": b"<x:xmpmeta>",
        "cat/1.jpg.supplemental-metadata.json": b"{}",
        "cat/IMG_1.AAE": b"<?xml",
        "cat/2.NEF": b"MM\0*",
        "cat/3.cr3": b"\0\0\0\x18ftypcrx ",
        "cat/clip.mov": b"\0\0\0\x14ftypqt  ",
        "cat/BMW.txt": b"BMW is a make of cars",
        "cat/P1.txt": b"P1 is a parking lot",
        "notes": b"P6 or not",
    }.items():
        write(tmp_path / name, content)
    result = scan.scan(tmp_path)
    assert result.photos == ["cat/1.jpg", "cat/no extension", "cat/phone.HEIC"]
    assert result.unreadable == {
        "cat/page.jpg": "does not decode as a photo: it starts with b'<html>', unlike any format of photos",
        "cat/empty.png": "does not decode as a photo: it is empty",
    }
    assert result.all_photos() == ["cat/1.jpg", "cat/empty.png", "cat/no extension", "cat/page.jpg", "cat/phone.HEIC"]
    assert len(result.others) == 9
    unreadable, others = result.describe()
    assert unreadable.startswith("Unreadable: 1 does not decode as a photo: it is empty (cat/empty.png); 1 does not")
    assert (
        "2 a RAW file, in which only a small preview can be read: export it as a JPEG (cat/2.NEF, cat/3.cr3)" in others
    )
    assert "1 of type .xmp (cat/1.jpg.xmp)" in others


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "cat/@eaDir/1.jpg", "cat/Icon\r", "cat/Thumbs.db", ".picasa.ini"),
        *("__MACOSX/cat/1.jpg", "cat/._1.jpg", "cat/.thumbs/1.jpg", "#recycle/cat/1.jpg", "$RECYCLE.BIN/1.jpg"),
    ],
)
def test_files_of_systems_and_photo_managers_are_skipped(tmp_path: Path, name: str) -> None:
    write(tmp_path / "cat/1.jpg")
    write(tmp_path / name)
    result = scan.scan(tmp_path)
    assert result.photos == ["cat/1.jpg"]
    assert [*result.others.values()] == [scan.HIDDEN]
    assert result.describe()[0].isprintable()


def test_links_are_followed_only_inside_the_folder(tmp_path: Path) -> None:
    secret = write(tmp_path / "outside/shadow.jpg")
    folder = tmp_path / "photos"
    write(folder / "all/1.jpg")
    (folder / "cat").mkdir()
    for name, target in {
        "cat/inside.jpg": "../all/1.jpg",
        "cat/outside.jpg": str(secret),
        "cat/relative.jpg": "../../outside/shadow.jpg",
        "cat/nothing.jpg": "gone.jpg",
        "cat/itself": "itself",
        "dog": str(secret.parent),
        "linked": "all",
        "cat/circle": "..",
    }.items():
        (folder / name).symlink_to(target)
    result = scan.scan(folder)
    assert result.photos == ["all/1.jpg", "cat/inside.jpg", "linked/1.jpg"]
    assert result.unreadable == {
        "cat/outside.jpg": scan.OUTSIDE,
        "cat/relative.jpg": scan.OUTSIDE,
        "cat/nothing.jpg": scan.BROKEN_LINK,
        "cat/itself": scan.BROKEN_LINK,
        "dog": scan.OUTSIDE,
        "cat/circle": scan.CIRCULAR,
    }


def test_the_folder_may_be_a_link_and_dvc_may_link_to_its_cache(tmp_path: Path) -> None:
    cached = write(tmp_path / f"cache/files/md5/0a/{'1' * 30}")
    write(tmp_path / "real/cat/1.jpg")
    (tmp_path / "real/cat/2.jpg").symlink_to(cached)
    (tmp_path / "link").symlink_to("real")
    assert scan.scan(tmp_path / "link").photos == ["cat/1.jpg", "cat/2.jpg"]


def test_pipes_and_sockets_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
    assert scan.scan(tmp_path).unreadable == {
        "pipe.jpg": "cannot be read: a named pipe, which is never opened",
        "s": "cannot be read: a socket, which is never opened",
    }


def test_a_broken_file_or_folder_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"):
        write(tmp_path / name)
    scandir, head = os.scandir, formats.head

    def closed(path: Any) -> Any:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    def torn(path: Any) -> bytes:
        if str(path).endswith("2.jpg"):
            raise OSError(5, "Input/output error")
        return head(path)

    monkeypatch.setattr(os, "scandir", closed)
    monkeypatch.setattr(formats, "head", torn)
    result = scan.scan(tmp_path)
    assert result.photos == ["cat/1.jpg"]
    assert result.unreadable == {
        "dog": "cannot be read: Permission denied",
        "cat/2.jpg": "cannot be read: Input/output error",
    }
    with pytest.raises(SmallsetError, match="dog: cannot be read: Permission denied"):
        scan.scan(tmp_path / "dog")


def test_the_order_is_numeric_and_the_same_everywhere() -> None:
    spellings = [unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]
    paths = ["a/2.jpg", "a/10.jpg", "a.jpg", "b/01.jpg", "b/1.jpg", "b/001.jpg", "c/x01y1", "c/x1y01", *spellings]
    random = np.random.default_rng(0)
    (order,) = {tuple(scan.natural_order(random.permutation(paths).tolist())) for _ in range(50)}
    assert order.index("b/001.jpg") < order.index("b/01.jpg") < order.index("b/1.jpg")
    assert order.index("a/2.jpg") < order.index("a/10.jpg")


def test_folders_without_a_photo_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "cat/1.jpg")
    write(tmp_path / "notes/a/b.txt", b"x")
    write(tmp_path / "cat/deep/b.txt", b"x")
    (tmp_path / "dog").mkdir()
    write(tmp_path / "fox/empty.jpg", b"")
    assert scan.scan(tmp_path).empty == ["cat/deep", "dog", "fox", "notes"]
