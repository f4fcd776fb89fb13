"""Every format, depth and size of photo becomes RGB of 8 bits; broken files are errors with a reason."""

import os
import struct
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from smallset.datasets.dataset import Dataset
from smallset.images import decoding
from smallset.pipeline.errors import SmallsetError


def plain(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (7, 5), color)  # type: ignore[arg-type]


def palette() -> Image.Image:
    image = plain("P", 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    return image


def values(value: float, kind: type[np.generic]) -> Image.Image:
    return Image.fromarray(np.full((5, 7), value, kind))


# 24 x 32 px, upper half red, lower half blue, stored as 32 x 24 px with Exif's orientation 6
HEIC = (Path(__file__).parent / "data/rotated.heic").read_bytes()
GRAY, RED, WHITE = (128, 128, 128), (255, 0, 0), (255, 255, 255)


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a stage, where process.prepare has lifted Pillow's own limit."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)


@pytest.mark.parametrize(
    ("image", "name", "options", "expected"),
    [
        (plain("L", 128), "gray.png", {}, GRAY),
        (plain("LA", (0, 0)), "nothing.png", {}, WHITE),
        (plain("RGBA", (255, 0, 0, 255)), "opaque.png", {}, RED),
        (plain("CMYK", (0, 255, 255, 0)), "press.tif", {}, RED),
        (plain("CMYK", (0, 255, 255, 0)), "press.jpg", {"quality": 100}, RED),
        (palette(), "palette.png", {}, RED),
        (palette(), "transparent.png", {"transparency": 1}, WHITE),
        (palette(), "levels.png", {"transparency": bytes([0, 255])}, RED),
        (plain("RGB", RED), "moving.gif", {"save_all": True, "append_images": [plain("RGB", "blue")]}, RED),
        (values(32896, np.uint16), "wide.png", {}, GRAY),
        (values(32896, np.uint16), "wide.tif", {}, GRAY),
        (values(32896, np.int32), "wider.tif", {}, GRAY),
        (values(0.5, np.float32), "share.tif", {}, GRAY),
        (values(128, np.float32), "float.tif", {}, GRAY),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, image: Image.Image, name: str, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    image.save(tmp_path / name, **options)
    pixels = decoding.decode(tmp_path / name)
    assert pixels.shape == (5, 7, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == expected).all()


def test_a_large_jpeg_is_halved_while_it_is_decoded(tmp_path: Path) -> None:
    for width, height in ((2048, 2060), (2047, 3000)):
        plain("RGB", RED).resize((width, height)).save(tmp_path / "x.jpg")
        halved = width == 2048
        assert decoding.decode(tmp_path / "x.jpg").shape == (height // (1 + halved), width // (1 + halved), 3)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "bomb.png")
    with pytest.raises(
        SmallsetError, match=r"bomb.png: does not decode as a photo: it has 100,000,000 pixels, and at most 90,000,000 "
    ):
        decoding.decode(tmp_path / "bomb.png")


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: a quarter turn
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decoding.decode(tmp_path / "turned.jpg").shape == (8, 4, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not decode as a photo: it is empty"),
        (b"not a photo", "does not decode as a photo: it starts with b'not a photo', unlike any format of photos"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it starts with b'%!PS-Adobe-3'"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "unlike any format of photos"),  # WMF
        (b"\x89HDF\r\n\x1a\n", "unlike any format of photos"),
        (b"\xff\xd8\xff\xe0", "a JPEG with a broken header"),
        (b"RIFF\x04\0\0\0WEBPVP8 ", "does not decode as a photo: "),
    ],
)
def test_other_files_are_errors_with_a_reason(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(SmallsetError, match=f"x.jpg: .*{message}"):
        decoding.decode(tmp_path / "x.jpg")
    with pytest.raises(SmallsetError, match="x.jpg: "):
        decoding.size(tmp_path / "x.jpg")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, message in {
        tmp_path / "pipe.jpg": "pipe.jpg: cannot be read: a named pipe, which is never opened",
        tmp_path: "cannot be read: a folder, which is never opened",
        Path("/dev/zero"): "zero: cannot be read: a device",
        tmp_path / "none.jpg": "none.jpg: no such file",
        tmp_path / ("x" * 300): "cannot be read: File name too long",
        tmp_path / "a\0b": "a.b: cannot be read: embedded null byte",
    }.items():
        with pytest.raises(SmallsetError, match=message):
            decoding.decode(path)


def test_the_content_decides_the_format(tmp_path: Path) -> None:
    plain("RGB", RED).save(tmp_path / "x.png")
    for name in ("x.jpg", "x.eps", "x"):
        (tmp_path / name).write_bytes((tmp_path / "x.png").read_bytes())
        assert (decoding.decode(tmp_path / name) == RED).all()


@pytest.mark.parametrize("name", ["x.nef", "x.DNG", "x.tif"])
def test_the_preview_in_a_raw_file_is_not_read(tmp_path: Path, name: str) -> None:
    plain("RGB", RED).save(tmp_path / name, "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(SmallsetError, match="a RAW file, in which only a small preview can be read: export it"):
        decoding.decode(tmp_path / name)


@pytest.mark.parametrize("content", [HEIC, HEIC.replace(b"Exif", b"none")], ids=["", "without Exif"])
def test_heic_is_read_upright(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / "x.heic").write_bytes(content)
    pixels = decoding.decode(tmp_path / "x.heic")
    assert pixels.shape == (32, 24, 3)
    assert np.abs(pixels[2, 2].astype(int) - RED).max() < 4
    assert decoding.size(tmp_path / "x.heic") == (24, 32)


def test_heic_without_its_library_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / "x.heic").write_bytes(HEIC)
    with pytest.raises(
        SmallsetError, match="x.heic: does not decode as a photo: HEIF needs pi-heif: pip install pi-heif"
    ):
        decoding.decode(tmp_path / "x.heic")


def exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """An IFD with these tags: number, type, count, value."""
    entries = b"".join(struct.pack("<HHI4s", *tag) for tag in sorted(tags))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "broken",
    [
        (0x011A, 2, 1, b"abc\0"),  # a resolution that is text
        (0x0213, 4, 1, b"\1\2\3\4"),  # too large for its type
        (0x010F, 10, 4, b"\xff\xff\0\0"),  # a value beyond the end
        (0x0103, 99, 1, b"\0\0\0\0"),  # no type
        (0x8769, 2, 1, b"\0\0\0\0"),  # a pointer that is text
    ],
)
def test_orientation_is_found_among_broken_tags(tmp_path: Path, broken: tuple[int, int, int, bytes]) -> None:
    tags = exif((0x0112, 3, 1, b"\6\0\0\0"), broken)
    Image.new("RGB", (8, 4)).save(tmp_path / "x.jpg", exif=tags)
    assert decoding.decode(tmp_path / "x.jpg").shape == (8, 4, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "segment",
    [
        *(b"\xff%c\0\x10" % number + bytes(14) for number in (0xE1, 0xED, 0xEE, 0xFE)),
        b"\xff\xe1\0\x0eExif\0\0II*\0\xff\xff",
        b"\xff\xe2\0\x0cMPF\0II*\0\xff\xff",
        b"\xff\xe2\0\x10ICC_PROFILE\0\x09\x01",
    ],
)
def test_broken_metadata_do_not_change_the_pixels_of_a_jpeg(tmp_path: Path, segment: bytes) -> None:
    plain("RGB", RED).save(tmp_path / "x.jpg", quality=100)
    content = (tmp_path / "x.jpg").read_bytes()
    expected = decoding.decode(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes(content[:2] + segment + content[2:])
    np.testing.assert_array_equal(decoding.decode(tmp_path / "x.jpg"), expected)


def chunk(name: bytes, content: bytes, broken: bool = False) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ broken)


@pytest.mark.parametrize(
    "extra",
    [
        *(chunk(name, b"key\0value", broken=True) for name in (b"tEXt", b"iCCP", b"gAMA", b"eXIf", b"pHYs", b"abCd")),
        chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(5_000_000))),
        chunk(b"iCCP", b"key\0\0" + zlib.compress(bytes(5_000_000))),
        chunk(b"iTXt", b"key\0\1\0\0\0" + zlib.compress(bytes(5_000_000))),
        chunk(b"zTXt", b"key\0\0" + b"no zlib"),
        chunk(b"pHYs", b"\0"),
        chunk(b"cHRM", b"\0\1\2"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_broken_metadata_do_not_change_the_pixels_of_a_png(tmp_path: Path, extra: bytes, last: bool) -> None:
    image = values(4000, np.uint16)
    image.save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    expected = decoding.decode(tmp_path / "x.png")
    at = len(content) - 12 if last else 8 + 25
    (tmp_path / "x.png").write_bytes(content[:at] + extra + content[at:])
    np.testing.assert_array_equal(decoding.decode(tmp_path / "x.png"), expected)


def test_a_png_with_broken_pixels_does_not_decode(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[:33] + chunk(b"tEXt", b"a\0b", broken=True) + content[33:-2000])
    with pytest.raises(SmallsetError, match="x.png: does not decode as a photo"):
        decoding.decode(tmp_path / "x.png")


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_white_is_the_end_of_the_smallest_range_with_all_values(tmp_path: Path, bits: int, name: str) -> None:
    top = (1 << bits) - 1
    image = Image.fromarray(np.array([[0, top // 2 + 1, top]], np.uint16))
    image.save(tmp_path / name)
    assert decoding.decode(tmp_path / name)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(("bits", "expected"), [(16, [0, 128, 255]), (14, [0, 128, 255]), (12, [0, 128, 255])])
@pytest.mark.parametrize("channels", [3, 4])
def test_12_bit_colors_of_a_png_are_not_almost_black(
    tmp_path: Path, bits: int, expected: list[int], channels: int
) -> None:
    top = (1 << bits) - 1
    colors = np.repeat(np.array([[0, top // 2 + 1, top]], ">u2")[..., None], channels, -1)
    if channels == 4:
        colors[..., 3] = 65535  # opaque
    rows = b"".join(b"\0" + row.tobytes() for row in colors)
    header = struct.pack(">IIBBBBB", 3, 1, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert np.abs(decoding.decode(tmp_path / "x.png")[0, :, 0].astype(int) - expected).max() <= (bits == 16)


@pytest.mark.parametrize("order", ["<", ">"])
def test_12_bit_colors_of_a_tiff_are_not_almost_black(tmp_path: Path, order: str) -> None:
    pixels = np.array([[[0, 2048, 4095]] * 3], f"{order}u2").tobytes()
    tags = [(256, 4, 1, 3), (257, 4, 1, 1), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 300)]
    tags += [(277, 3, 1, 3), (278, 4, 1, 1), (279, 4, 1, len(pixels))]
    entries = b"".join(
        struct.pack(f"{order}HHI", *tag[:3]) + struct.pack(f"{order}{'H2x' if tag[1:3] == (3, 1) else 'I'}", tag[3])
        for tag in tags
    )
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, len(tags)) + entries + bytes(4)
    bits = struct.pack(f"{order}HHH", 16, 16, 16)
    (tmp_path / "x.tif").write_bytes((head.ljust(200, b"\0") + bits).ljust(300, b"\0") + pixels)
    assert decoding.decode(tmp_path / "x.tif")[0, 0].tolist() == [0, 128, 255]


def test_the_limit_of_pixels_depends_on_how_a_jpeg_is_decoded(tmp_path: Path) -> None:
    plain("RGB", RED).save(tmp_path / "x.jpg")
    for progressive, side, message in ((False, 17_000, "289,000,000 pixels, and at most 260,000,000"),
                                       (True, 10_000, "100,000,000 pixels, and at most 90,000,000")):  # fmt: skip
        plain("RGB", RED).save(tmp_path / "x.jpg", progressive=progressive)
        content = bytearray((tmp_path / "x.jpg").read_bytes())
        at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0")
        content[at + 5 : at + 9] = struct.pack(">HH", side, side)
        (tmp_path / "x.jpg").write_bytes(content)
        with pytest.raises(SmallsetError, match=message):
            decoding.decode(tmp_path / "x.jpg")


def test_a_photo_of_100_megapixels(tmp_path: Path) -> None:
    Image.new("L", (12_000, 9_000), 128).save(tmp_path / "x.jpg")
    assert decoding.size(tmp_path / "x.jpg") == (12_000, 9_000)
    assert decoding.decode(tmp_path / "x.jpg").shape == (1125, 1500, 3)


@pytest.mark.parametrize(("mode", "color"), [("RGB", RED), ("RGBA", (255, 0, 0, 255)), ("P", 1), ("I;16", 32896)])
def test_a_large_photo_is_reduced_and_decoded_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, color: Any
) -> None:
    image = palette() if mode == "P" else plain(mode, color)
    image.resize((60, 50), Image.Resampling.NEAREST).save(tmp_path / "x.png")
    expected = decoding.decode(tmp_path / "x.png")
    monkeypatch.setattr(decoding, "LARGE", 1000)
    smaller = decoding.decode(tmp_path / "x.png")
    assert smaller.shape == (25, 30, 3)
    assert (smaller == expected[0, 0]).all()
    with decoding.LOCK:
        waiting = threading.Thread(target=decoding.decode, args=[tmp_path / "x.png"])
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join()


def test_a_truncated_photo_does_not_decode(drawn: Dataset) -> None:
    path = drawn.paths[0]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SmallsetError, match="truncated"):
        decoding.decode(path)
