"""What is below a folder of photos: in one order, and with a reason for whatever is left out."""

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


def test_photos_are_known_by_their_first_bytes_and_all_else_has_a_reason(tmp_path: Path) -> None:
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
        "cat/P1.txt": b"P1 is a parking place",
        "notes": b"P6 or not",
    }.items():
        write(tmp_path / name, content)
    found = scan.walk(tmp_path)
    assert found.photos == ["cat/1.jpg", "cat/no extension", "cat/phone.HEIC"]
    assert found.broken == {
        "cat/page.jpg": "does not decode as a photo: it begins with b'<html>', as no format of photos does",
        "cat/empty.png": "does not decode as a photo: it is empty",
    }
    assert len(found.others) == 9
    said = " ".join(found.said())
    assert "2 a RAW file, of which no more than a small preview can be read" in said
    assert "(cat/2.NEF, cat/3.cr3)" in said
    assert "1 of type .xmp (cat/1.jpg.xmp)" in said


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "cat/@eaDir/1.jpg", "cat/Icon\r", "cat/Thumbs.db", ".picasa.ini"),
        *("__MACOSX/cat/1.jpg", "cat/._1.jpg", "cat/.thumbs/1.jpg", "#recycle/cat/1.jpg", "$RECYCLE.BIN/1.jpg"),
    ],
)
def test_what_systems_and_photo_managers_leave_is_not_counted(tmp_path: Path, name: str) -> None:
    write(tmp_path / "cat/1.jpg")
    write(tmp_path / name)
    found = scan.walk(tmp_path)
    assert found.photos == ["cat/1.jpg"]
    assert [*found.others.values()] == [scan.LEAVINGS]
    assert found.said()[0].startswith("Not counted: 1 hidden, or left by the system or a photo manager (")
    assert found.said()[0].isprintable()


def test_links_are_followed_as_long_as_they_stay_below_the_folder(tmp_path: Path) -> None:
    secret = write(tmp_path / "outside/shadow.jpg")
    top = tmp_path / "own"
    write(top / "all/1.jpg")
    (top / "cat").mkdir()
    for name, target in {
        "cat/inside.jpg": "../all/1.jpg",
        "cat/outside.jpg": str(secret),
        "cat/relative.jpg": "../../outside/shadow.jpg",
        "cat/nothing.jpg": "gone.jpg",
        "cat/itself": "itself",
        "dog": str(secret.parent),
        "linked": "all",
        "cat/round": "..",
    }.items():
        (top / name).symlink_to(target)
    found = scan.walk(top)
    assert found.photos == ["all/1.jpg", "cat/inside.jpg", "linked/1.jpg"]
    assert found.broken == {
        "cat/outside.jpg": scan.OUTSIDE,
        "cat/relative.jpg": scan.OUTSIDE,
        "cat/nothing.jpg": scan.NOTHING,
        "cat/itself": scan.NOTHING,
        "dog": scan.OUTSIDE,
        "cat/round": scan.ROUND,
    }
    assert "3 a link that leads out of the folder: put a copy in its place (cat/outside.jpg, " in found.said()[0]


def test_the_folder_itself_may_be_a_link_and_dvc_s_own_links_are_photos(tmp_path: Path) -> None:
    cached = write(tmp_path / f"cache/files/md5/0a/{'1' * 30}")
    write(tmp_path / "real/cat/1.jpg")
    (tmp_path / "real/cat/2.jpg").symlink_to(cached)
    (tmp_path / "own").symlink_to("real")
    assert scan.walk(tmp_path / "own").photos == ["cat/1.jpg", "cat/2.jpg"]


def test_nothing_but_files_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
    found = scan.walk(tmp_path)
    assert found.broken == {
        "pipe.jpg": "cannot be read: a named pipe, which is never opened",
        "s": "cannot be read: a socket, which is never opened",
    }


def test_a_folder_or_file_that_cannot_be_read_is_named_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "cat/1.jpg")
    write(tmp_path / "cat/2.jpg")
    write(tmp_path / "dog/1.jpg")
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
    found = scan.walk(tmp_path)
    assert found.photos == ["cat/1.jpg"]
    assert found.broken == {
        "dog": "cannot be read: Permission denied",
        "cat/2.jpg": "cannot be read: Input/output error",
    }
    with pytest.raises(SmallsetError, match="dog: cannot be read: Permission denied"):
        scan.walk(tmp_path / "dog")


def test_the_order_is_that_of_numbers_and_then_of_bytes_whatever_the_folder_gives() -> None:
    composed = unicodedata.normalize("NFC", "é.jpg")
    apart = unicodedata.normalize("NFD", "é.jpg")
    expected = ["a/2.jpg", "a/10.jpg", "a.jpg", "b/01.jpg", "b/1.jpg", "b/001.jpg", "c/x01y1", "c/x1y01"]
    paths = [*expected, composed, apart]
    draw = np.random.default_rng(0)
    orders = {tuple(scan.ordered([paths[at] for at in draw.permutation(len(paths))])) for _ in range(50)}
    (order,) = orders
    assert order.index("b/001.jpg") < order.index("b/01.jpg") < order.index("b/1.jpg")
    assert order.index("a/2.jpg") < order.index("a/10.jpg")


def test_folders_without_a_photo_are_known(tmp_path: Path) -> None:
    write(tmp_path / "cat/1.jpg")
    write(tmp_path / "notes/a/b.txt", b"x")
    write(tmp_path / "cat/deep/b.txt", b"x")
    (tmp_path / "dog").mkdir()
    (tmp_path / "closed").mkdir()
    write(tmp_path / "fox/empty.jpg", b"")
    assert scan.walk(tmp_path).bare == ["cat/deep", "closed", "dog", "fox", "notes"]
