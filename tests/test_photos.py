"""Which photos there are, in what order, and one decoder for all of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smallset import photos
from smallset.errors import SmallsetError


def test_photos_are_in_numeric_order_with_their_labels(tmp_path: Path) -> None:
    for name in ("dog/dog.10.jpg", "dog/dog.9.jpg", "cat/cat.100.jpg", "cat/cat.20.jpg", "cat/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = photos.find(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.files == ("cat/cat.20.jpg", "cat/cat.100.jpg", "dog/dog.9.jpg", "dog/dog.10.jpg")
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(SmallsetError, match=r"cat: no photo there. Add photos of that class, or take its folder away"):
        photos.find(tmp_path)


def test_one_class_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(SmallsetError, match="expected a folder for each class, two or more; found 1: cat. Sort"):
        photos.find(tmp_path)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png")
    Image.new(mode, (7, 5)).save(path)
    pixels = photos.decode(path)
    assert pixels.shape == (5, 7, 3)
    assert pixels.dtype == np.uint8


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: a quarter turn
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert photos.decode(tmp_path / "turned.jpg").shape == (8, 4, 3)


@pytest.mark.parametrize("content", [b"", b"not a photo"])
def test_what_does_not_decode_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(SmallsetError, match=r"x.jpg: does not decode as a photo"):
        photos.decode(tmp_path / "x.jpg")


def test_a_truncated_photo_does_not_decode(drawn: photos.Photos) -> None:
    path = Path(drawn.paths()[0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SmallsetError, match="truncated"):
        photos.decode(path)
