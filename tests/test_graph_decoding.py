"""A SavedModel that takes encoded photos predicts as smallset does, or refuses a photo and says why."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageCms, PngImagePlugin
from profiles import DISPLAY_P3, make_profile

from smallset.images import decoding, graph_decoding, resizing

SIZE = 24


@pytest.fixture(scope="module")
def decode() -> Any:
    signature = [tf.TensorSpec((None,), tf.string)]
    return tf.function(lambda contents: graph_decoding.decode_and_resize(contents, SIZE), signature)


def make_photo(size: tuple[int, int]) -> Image.Image:
    """A photo with colors, smooth places and edges."""
    noise = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def make_exif(orientation: int, order: str = "II") -> Image.Exif:
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif[271], exif[274] = "Maker", orientation
    return exif


def encode(kind: str, mode: str = "RGB", size: tuple[int, int] = (70, 45), **options: object) -> bytes:
    file, photo = io.BytesIO(), make_photo(size)
    if mode in ("LA", "RGBA"):
        photo.putalpha(Image.linear_gradient("L").resize(size))
    photo.convert(mode).save(file, kind, **options)
    return file.getvalue()


def with_chunk(name: bytes, content: bytes) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(name, content)
    return chunks


XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WIDE = make_profile(DISPLAY_P3, 2.2)
SAME: dict[str, Callable[[], bytes]] = {
    **{f"turned {n}": partial(encode, "JPEG", exif=make_exif(n, "MM" if n % 3 else "II")) for n in range(10)},
    **{f"{w} x {h}": partial(encode, "JPEG", size=(w, h)) for w, h in ((1, 1), (1, 300), (2047, 2048), (2050, 2049))},
    **{f"subsampled {n}": partial(encode, "JPEG", subsampling=n, quality=30) for n in range(3)},
    "progressive": partial(encode, "JPEG", size=(2055, 2051), progressive=True),
    "restarts": partial(encode, "JPEG", restart_marker_rows=1, comment=b"\xff\xda", optimize=True),
    "RGB in a JPEG": partial(encode, "JPEG", keep_rgb=True),
    "gray": partial(encode, "JPEG", "L"),
    "sRGB": partial(encode, "JPEG", icc_profile=PROFILE),
    "XMP": partial(encode, "JPEG", xmp=XMP % 6),
    "XMP is second": partial(encode, "JPEG", xmp=XMP % 6, exif=make_exif(3)),
    "broken Exif": partial(encode, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f\xff\xff"),
    **{f"PNG {mode}": partial(encode, "PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")},
    "PNG turned": partial(encode, "PNG", exif=make_exif(8)),
    "PNG XMP": partial(encode, "PNG", pnginfo=with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP[29:] % 5)),
    "PNG sRGB": partial(encode, "PNG", icc_profile=PROFILE),
    "PNG palette of 16 colors": partial(encode, "PNG", "P", bits=4),
    "PNG palette with alpha": partial(encode, "PNG", "P", bits=4, transparency=bytes(range(0, 240, 15))),
    "PNG 1 bit with transparency": partial(encode, "PNG", "1", transparency=0),
    "PNG gamma": partial(encode, "PNG", pnginfo=with_chunk(b"gAMA", (45_000).to_bytes(4))),
    "PNG transparent color": partial(encode, "PNG", transparency=(0, 0, 0)),
}
REFUSED: dict[str, Callable[[], bytes]] = {
    "CMYK": partial(encode, "JPEG", "CMYK"),
    "sRGB: wide gamut": partial(encode, "JPEG", icc_profile=WIDE),
    "sRGB: PNG": partial(encode, "PNG", icc_profile=WIDE),
    "gamma": partial(encode, "PNG", pnginfo=with_chunk(b"gAMA", (100_000).to_bytes(4))),
    "16 bits": partial(encode, "PNG", "I;16"),
    "Exif as text": partial(encode, "PNG", pnginfo=with_chunk(b"tEXt", b"Raw profile type exif\0 0")),
    "too large": partial(encode, "PNG", size=(5001, 5001), compress_level=1),
    "neither": partial(encode, "WEBP"),
    "JPEG": lambda: encode("JPEG")[:600],
}


@pytest.mark.parametrize("name", SAME)
def test_the_pixels_are_those_of_predict(name: str, decode: Any, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(SAME[name]())
    expected = resizing.resize(decoding.decode(tmp_path / "photo"), SIZE)
    np.testing.assert_array_equal(decode(tf.constant([(tmp_path / "photo").read_bytes()]))[0], expected)


@pytest.mark.parametrize("name", REFUSED)
def test_what_tensorflow_would_decode_differently_is_refused(name: str, decode: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=name.partition(":")[0]):
        decode(tf.constant([encode("JPEG"), REFUSED[name]()]))


def test_several_photos_are_decoded_in_their_order(decode: Any) -> None:
    contents = [SAME[name]() for name in ("gray", "PNG RGBA", "turned 6")]
    together = decode(tf.constant(contents))
    for number, content in enumerate(contents):
        np.testing.assert_array_equal(together[number], decode(tf.constant([content]))[0])
