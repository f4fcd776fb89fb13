"""Every format, depth and size of photo becomes RGB of 8 bits; broken files are errors with a reason."""

import io
import os
import struct
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from smallset.images import decoding
from smallset.pipeline.errors import SmallsetError

# 24 x 32 px, upper half red, lower half blue, stored as 32 x 24 px with Exif's orientation 6
HEIC = (Path(__file__).parent / "data/rotated.heic").read_bytes()
GRAY, RED, WHITE = (128, 128, 128), (255, 0, 0), (255, 255, 255)
FAILS = "does not decode as a photo: "


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a stage, where process.prepare has lifted Pillow's own limit; in an empty folder."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.chdir(tmp_path)


def plain(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (7, 5), color)  # type: ignore[arg-type]


def palette() -> Image.Image:
    image = plain("P", 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    return image


def values(value: float, kind: type[np.generic]) -> Image.Image:
    return Image.fromarray(np.full((5, 7), value, kind))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def decode(content: bytes, name: str = "x") -> NDArray[np.uint8]:
    Path(name).write_bytes(content)
    return decoding.decode(name)


@pytest.mark.parametrize(
    ("image", "kind", "options", "expected"),
    [
        (plain("L", 128), "PNG", {}, GRAY),
        (plain("LA", (0, 0)), "PNG", {}, WHITE),
        (plain("RGBA", (255, 0, 0, 255)), "PNG", {}, RED),
        (plain("CMYK", (0, 255, 255, 0)), "TIFF", {}, RED),
        (plain("CMYK", (0, 255, 255, 0)), "JPEG", {"quality": 100}, RED),
        (palette(), "PNG", {}, RED),
        (palette(), "PNG", {"transparency": 1}, WHITE),
        (palette(), "PNG", {"transparency": bytes([0, 255])}, RED),
        (plain("RGB", RED), "GIF", {"save_all": True, "append_images": [plain("RGB", "blue")]}, RED),
        (values(32896, np.uint16), "PNG", {}, GRAY),
        (values(32896, np.uint16), "TIFF", {}, GRAY),
        (values(32896, np.int32), "TIFF", {}, GRAY),
        (values(0.5, np.float32), "TIFF", {}, GRAY),
        (values(128, np.float32), "TIFF", {}, GRAY),
    ],
)
def test_every_mode_becomes_rgb(
    image: Image.Image, kind: str, options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    for name in ("x.jpg", "x.eps", "x"):  # the content decides the format
        pixels = decode(encode(image, kind, **options), name)
        assert pixels.shape == (5, 7, 3)
        assert pixels.dtype == np.uint8
        assert (pixels == expected).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"{FAILS}it is empty"),
        (b"not a photo", f"{FAILS}it starts with b'not a photo', unlike any format of photos"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it starts with b'%!PS-Adobe-3'"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "unlike any format of photos"),  # WMF
        (b"\x89HDF\r\n\x1a\n", "unlike any format of photos"),
        (b"\xff\xd8\xff\xe0", "a JPEG with a broken header"),
        (b"RIFF\x04\0\0\0WEBPVP8 ", FAILS),
        (encode(plain("RGB", RED), "JPEG")[:-9], "truncated"),
        (encode(Image.new("1", (10_000, 10_000)), "PNG"), "it has 100,000,000 pixels, and at most 90,000,000 are"),
    ],
)
def test_other_files_are_errors_with_a_reason(content: bytes, message: str) -> None:
    with pytest.raises(SmallsetError, match=f"x.jpg: .*{message}"):
        decode(content, "x.jpg")


def test_only_regular_files_are_opened() -> None:
    os.mkfifo("pipe.jpg")
    for path, message in {
        "pipe.jpg": "pipe.jpg: cannot be read: not a regular file, so it is never opened",
        "/dev/zero": "/dev/zero: cannot be read: not a regular file",
        "none.jpg": "none.jpg: no such file",
        "x" * 300: "cannot be read: File name too long",
        "a\0b": "a.b: cannot be read: .*embedded null",
    }.items():
        with pytest.raises(SmallsetError, match=message):
            decoding.decode(path)


@pytest.mark.parametrize("name", ["x.nef", "x.DNG", "x.tif"])
def test_the_preview_in_a_raw_file_is_not_read(name: str) -> None:
    with pytest.raises(SmallsetError, match="a RAW file, in which only a small preview can be read: export it"):
        decode(encode(plain("RGB", RED), "TIFF", tiffinfo={50706: b"\1\4\0\0"}), name)


@pytest.mark.parametrize("content", [HEIC, HEIC.replace(b"Exif", b"none")], ids=["", "without Exif"])
def test_heic_is_read_upright(content: bytes) -> None:
    pytest.importorskip("pi_heif")
    Path("x.heic").write_bytes(content)
    pixels, size = decoding.decode_with_size("x.heic")
    assert (pixels.shape, size) == ((32, 24, 3), (24, 32))
    assert np.abs(pixels[2, 2].astype(int) - RED).max() < 4


def test_heic_without_its_library_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(SmallsetError, match=f"x.heic: {FAILS}HEIF needs pi-heif: pip install pi-heif"):
        decode(HEIC, "x.heic")


def make_exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """An IFD with these tags: number, type, count, value."""
    entries = b"".join(struct.pack("<HHI4s", *tag) for tag in sorted(tags))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "tags",
    [
        [],
        [(0x011A, 2, 1, b"abc\0")],  # a resolution that is text
        [(0x0213, 4, 1, b"\1\2\3\4")],  # too large for its type
        [(0x010F, 10, 4, b"\xff\xff\0\0")],  # a value beyond the end
        [(0x0103, 99, 1, b"\0\0\0\0")],  # no type
        [(0x8769, 2, 1, b"\0\0\0\0")],  # a pointer that is text
    ],
)
def test_a_photo_is_turned_upright_also_among_broken_tags(tags: list[tuple[int, int, int, bytes]]) -> None:
    exif = make_exif((0x0112, 3, 1, b"\6\0\0\0"), *tags)
    Image.new("RGB", (8, 4)).save("x.jpg", exif=exif)
    pixels, size = decoding.decode_with_size("x.jpg")
    assert (pixels.shape, size) == ((8, 4, 3), (4, 8))


def make_chunk(name: bytes, content: bytes, broken: bool = False) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ broken)


SEGMENTS = [  # of a JPEG
    *(b"\xff%c\0\x10" % number + bytes(14) for number in (0xE1, 0xED, 0xEE, 0xFE)),
    b"\xff\xe1\0\x0eExif\0\0II*\0\xff\xff",
    b"\xff\xe2\0\x0cMPF\0II*\0\xff\xff",
    b"\xff\xe2\0\x10ICC_PROFILE\0\x09\x01",
]
CHUNKS = [  # of a PNG
    *(make_chunk(name, b"key\0value", broken=True) for name in (b"tEXt", b"iCCP", b"gAMA", b"eXIf", b"pHYs", b"abCd")),
    make_chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(5_000_000))),
    make_chunk(b"iCCP", b"key\0\0" + zlib.compress(bytes(5_000_000))),
    make_chunk(b"iTXt", b"key\0\1\0\0\0" + zlib.compress(bytes(5_000_000))),
    make_chunk(b"zTXt", b"key\0\0" + b"no zlib"),
    make_chunk(b"pHYs", b"\0"),
    make_chunk(b"cHRM", b"\0\1\2"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "extra"), [("JPEG", part) for part in SEGMENTS] + [("PNG", part) for part in CHUNKS])
def test_broken_metadata_do_not_change_the_pixels(kind: str, extra: bytes) -> None:
    content = encode(plain("RGB", RED) if kind == "JPEG" else values(4000, np.uint16), kind)
    expected = decode(content)
    for at in [2] if kind == "JPEG" else [33, -12]:  # after the header or before the end
        np.testing.assert_array_equal(decode(content[:at] + extra + content[at:]), expected)


def test_a_png_with_broken_pixels_does_not_decode() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8))
    content = encode(noise, "PNG")
    with pytest.raises(SmallsetError, match=f"x: {FAILS}"):
        decode(content[:33] + make_chunk(b"tEXt", b"a\0b", broken=True) + content[33:-2000])


@pytest.mark.parametrize(
    ("progressive", "side", "limit"), [(False, 17_000, "260,000,000"), (True, 10_000, "90,000,000")]
)
def test_the_limit_of_pixels_depends_on_how_a_jpeg_is_decoded(progressive: bool, side: int, limit: str) -> None:
    content = bytearray(encode(plain("RGB", RED), "JPEG", progressive=progressive))
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", side, side)
    with pytest.raises(SmallsetError, match=f"{side**2:,} pixels, and at most {limit} are decoded"):
        decode(bytes(content))


@pytest.mark.parametrize(("size", "factor"), [((2048, 2060), 2), ((2047, 3000), 1), ((12_000, 9_000), 8)])
def test_a_large_jpeg_is_halved_while_it_is_decoded(size: tuple[int, int], factor: int) -> None:
    Image.new("L", size, 128).save("x.jpg")
    pixels, original = decoding.decode_with_size("x.jpg")
    assert original == size
    assert pixels.shape == (size[1] // factor, size[0] // factor, 3)


@pytest.mark.parametrize(("mode", "color"), [("RGB", RED), ("RGBA", (255, 0, 0, 255)), ("P", 1), ("I;16", 32896)])
def test_a_large_photo_is_reduced_and_decoded_alone(monkeypatch: pytest.MonkeyPatch, mode: str, color: Any) -> None:
    image = palette() if mode == "P" else plain(mode, color)
    content = encode(image.resize((60, 50), Image.Resampling.NEAREST), "PNG")
    expected = decode(content)
    monkeypatch.setattr(decoding, "LARGE", 1000)
    smaller = decode(content)
    assert smaller.shape == (25, 30, 3)
    assert (smaller == expected[0, 0]).all()
    with decoding.LOCK:
        waiting = threading.Thread(target=decoding.decode, args=["x"])
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join()
