"""One decoder for all photos."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smallset.photos import decoding, lists
from smallset.pipeline.errors import SmallsetError


def plain(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (7, 5), colour)  # type: ignore[arg-type]


def palette() -> Image.Image:
    image = plain("P", 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    return image


def values(value: float, kind: type[np.generic]) -> Image.Image:
    return Image.fromarray(np.full((5, 7), value, kind))


GREY, RED, WHITE = (128, 128, 128), (255, 0, 0), (255, 255, 255)


@pytest.mark.parametrize(
    ("image", "name", "options", "expected"),
    [
        (plain("L", 128), "grey.png", {}, GREY),
        (plain("LA", (0, 0)), "nothing.png", {}, WHITE),
        (plain("RGBA", (255, 0, 0, 255)), "opaque.png", {}, RED),
        (plain("CMYK", (0, 255, 255, 0)), "press.tif", {}, RED),
        (plain("CMYK", (0, 255, 255, 0)), "press.jpg", {"quality": 100}, RED),
        (palette(), "palette.png", {}, RED),
        (palette(), "transparent.png", {"transparency": 1}, WHITE),
        (palette(), "levels.png", {"transparency": bytes([0, 255])}, RED),
        (plain("RGB", RED), "moving.gif", {"save_all": True, "append_images": [plain("RGB", "blue")]}, RED),
        (values(32896, np.uint16), "wide.png", {}, GREY),
        (values(32896, np.uint16), "wide.tif", {}, GREY),
        (values(32896, np.int32), "wider.tif", {}, GREY),
        (values(0.5, np.float32), "share.tif", {}, GREY),
        (values(128, np.float32), "float.tif", {}, GREY),
    ],
)
def test_every_kind_of_photo_becomes_rgb(
    tmp_path: Path, image: Image.Image, name: str, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    image.save(tmp_path / name, **options)
    pixels = decoding.decode(tmp_path / name)
    assert pixels.shape == (5, 7, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == expected).all()


def test_a_phone_s_jpeg_is_halved_while_it_is_decoded(tmp_path: Path) -> None:
    for width, height in ((2048, 2060), (2047, 3000)):
        plain("RGB", RED).resize((width, height)).save(tmp_path / "x.jpg")
        halved = width == 2048
        assert decoding.decode(tmp_path / "x.jpg").shape == (height // (1 + halved), width // (1 + halved), 3)


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "bomb.png")
    with pytest.raises(
        SmallsetError, match=r"bomb.png: does not decode as a photo: 100,000,000 pixels, of which at most 90,000,000 "
    ):
        decoding.decode(tmp_path / "bomb.png")


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: a quarter turn
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decoding.decode(tmp_path / "turned.jpg").shape == (8, 4, 3)


@pytest.mark.parametrize("content", [b"", b"not a photo"])
def test_what_does_not_decode_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(SmallsetError, match=r"x.jpg: does not decode as a photo"):
        decoding.decode(tmp_path / "x.jpg")


def test_a_truncated_photo_does_not_decode(drawn: lists.Photos) -> None:
    path = Path(drawn.paths()[0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SmallsetError, match="truncated"):
        decoding.decode(path)
