"""Which files below a folder are photos, in which order, and what all other files are."""

import os
import socket
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from albums import JPEG, put

from smallset.datasets import scan
from smallset.images import formats
from smallset.pipeline.errors import SmallsetError


def test_first_bytes_decide_what_is_a_photo(tmp_path: Path) -> None:
    for name, content in {
        "1.jpg": JPEG,
        "no extension": b"\x89PNG\r\n\x1a\n",
        "phone.HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "page.jpg": b"<html>",
        "empty.png": b"",
        "1.jpg.xmp": b"<x:xmpmeta>",
        "1.jpg.supplemental-metadata.json": b"{}",
        "IMG_1.AAE": b"<?xml",
        "2.NEF": b"MM\0*",
        "3.cr3": b"\0\0\0\x18ftypcrx ",
        "clip.mov": b"\0\0\0\x14ftypqt  ",
        "BMW.txt": b"BMW is a make of cars",
        "P1.txt": b"P1 is a parking lot",
        "notes": b"P6 or not",
    }.items():
        (tmp_path / name).write_bytes(content)
    result = scan.scan(tmp_path)
    assert result.photos == ["1.jpg", "no extension", "phone.HEIC"]
    assert result.unreadable == {
        "page.jpg": "does not decode as a photo: it is a web page, which is not read: export it as a JPEG or PNG",
        "empty.png": "does not decode as a photo: it is empty",
    }
    assert result.all_photos() == ["1.jpg", "empty.png", "no extension", "page.jpg", "phone.HEIC"]
    assert len(result.others) == 9
    unreadable, others = result.describe()
    assert unreadable.startswith("Unreadable: 1 does not decode as a photo: it is empty (empty.png); 1 does not")
    assert "2 a RAW file, in which only a small preview can be read: export it as a JPEG (2.NEF, 3.cr3)" in others
    assert "1 of type .xmp (1.jpg.xmp)" in others


@pytest.mark.parametrize(
    "name",
    [
        *("@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "cat/@eaDir/1.jpg", "cat/Icon\r", "cat/Thumbs.db", ".picasa.ini"),
        *("__MACOSX/cat/1.jpg", "cat/._1.jpg", "cat/.thumbs/1.jpg", "#recycle/cat/1.jpg", "$RECYCLE.BIN/1.jpg"),
    ],
)
def test_files_of_systems_and_photo_managers_are_skipped(tmp_path: Path, name: str) -> None:
    result = scan.scan(put(tmp_path, "cat/1.jpg", name))
    assert result.photos == ["cat/1.jpg"]
    assert [*result.others.values()] == [scan.HIDDEN]
    assert result.describe()[0].isprintable()


def test_links_are_followed_only_inside_the_folder_and_to_dvc_s_cache(tmp_path: Path) -> None:
    cached = f"cache/files/md5/0a/{'1' * 30}"
    put(tmp_path, "outside/shadow.jpg", "real/all/1.jpg", "real/cat/2.jpg", cached)
    for name, target in {
        "cat/inside.jpg": "../all/1.jpg",
        "cat/outside.jpg": str(tmp_path / "outside/shadow.jpg"),
        "cat/relative.jpg": "../../outside/shadow.jpg",
        "cat/nothing.jpg": "gone.jpg",
        "cat/itself": "itself",
        "cat/cached.jpg": str(tmp_path / cached),
        "dog": str(tmp_path / "outside"),
        "linked": "all",
        "cat/circle": "..",
    }.items():
        (tmp_path / "real" / name).symlink_to(target)
    (tmp_path / "photos").symlink_to("real")
    result = scan.scan(tmp_path / "photos")
    assert result.photos == ["all/1.jpg", "cat/2.jpg", "cat/cached.jpg", "cat/inside.jpg", "linked/1.jpg"]
    assert result.unreadable == {
        "cat/outside.jpg": scan.OUTSIDE,
        "cat/relative.jpg": scan.OUTSIDE,
        "cat/nothing.jpg": scan.BROKEN_LINK,
        "cat/itself": scan.BROKEN_LINK,
        "dog": scan.OUTSIDE,
        "cat/circle": scan.CIRCULAR,
    }


def test_a_file_or_folder_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
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
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        result = scan.scan(tmp_path)
    assert result.photos == ["cat/1.jpg"]
    special = "cannot be read: not a regular file, so it is never opened"
    assert result.unreadable == {
        "dog": "cannot be read: Permission denied",
        "cat/2.jpg": "cannot be read: Input/output error",
        "pipe.jpg": special,
        "s": special,
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
    put(tmp_path, "cat/1.jpg")
    for name in ("notes/a/b.txt", "cat/deep/b.txt", "fox/empty.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "dog").mkdir()
    assert scan.scan(tmp_path).empty == ["cat/deep", "dog", "fox", "notes"]
