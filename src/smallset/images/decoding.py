"""Decode photos: the only place where smallset reads pixels from files."""

import io
import math
import re
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from smallset.images import color, formats, metadata, tiff
from smallset.pipeline.errors import SmallsetError

MIN_SIDE = 1024  # px: a JPEG is not scaled below this while it is decoded; no network here takes more
LARGE = 25_000_000  # pixels: photos with more are decoded one at a time and reduced at once
MAX_PIXELS = 90_000_000  # decoded at full size: a file of a few kB can claim gigabytes
MAX_SCALED_PIXELS = 260_000_000  # of a JPEG that is scaled while it is decoded: phones have 200 million
LOCK = threading.Lock()  # held while a large photo is decoded

# By Exif's number of the orientation, from 2 on.
TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
DEPTHS = (8, 10, 12, 14, 16)  # bits per color of cameras and scanners
# Of a TIFF: (sample format, bits) -> how many of the bits may be used; with 1 bit, white is 1.
USED = {
    (1, 12): (12,),
    (2, 16): (*DEPTHS[:-1], 15),
    (1, 32): (*DEPTHS, 32),
    (2, 32): (*DEPTHS, 31),
    (3, 32): (1, *DEPTHS),
}
COLORS_16 = re.compile("(RGB|RGBA|RGBX|[RGBA]);16[BLN]")  # Pillow's names of colors of which it keeps the upper 8 bits
# The last letter of these names is the byte order -> the other order.
SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
ROWS = 256  # of pixels with more than 8 bits that are converted at once
OVERSHOOT, OUTLIERS = 0.25, 0.001  # of floats: resampling exceeds the range, and some pixels are defects
DARK = 16  # a range is doubtful if no value reaches this part of it

Size = tuple[int, int]  # width and height in px


def decode(path: str | Path) -> NDArray[np.uint8]:
    """Decode a photo completely, upright, to RGB (height, width, 3).

    Animations give their first frame, transparent pixels become white, colors become sRGB, and more than 8 bits are
    scaled to 8 (see `_find_white`). A JPEG whose sides are at least 2 * MIN_SIDE px is halved, repeatedly, while it is
    decoded; then a photo of more than LARGE pixels is reduced. Broken metadata are ignored. Pillow's own limit,
    MAX_IMAGE_PIXELS, applies as well, unless `process.prepare` removed it. A SmallsetError says why a file does not
    decode.
    """
    return decode_with_size(path)[0]


def decode_with_size(path: str | Path) -> tuple[NDArray[np.uint8], Size]:
    """Decode a photo as `decode`; also return the size that it has upright and before it is halved or reduced."""
    kind = _identify(path)
    try:
        return _read(path, kind)
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise many types for broken bytes
        try:
            return _read(io.BytesIO(metadata.remove(Path(path).read_bytes(), kind)), kind)
        except Exception:  # noqa: BLE001 - the first error has the reason
            raise SmallsetError(f"{path}: does not decode as a photo: {_explain(error, kind, path)}") from error


def _identify(path: str | Path) -> str:
    try:
        head = formats.head(path)
    except FileNotFoundError:
        raise SmallsetError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise SmallsetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if formats.RAW.search(str(path)):
        raise SmallsetError(f"{path}: {formats.NO_RAW}")
    kind = formats.identify(head)
    if kind is None:
        raise SmallsetError(f"{path}: {formats.explain(head)}")
    return kind


def _explain(error: Exception, kind: str, path: str | Path) -> str:
    if isinstance(error, ImportError):
        return f"{kind} needs pi-heif: pip install pi-heif"
    if isinstance(error, UnidentifiedImageError):
        return _explain_header(kind, path)
    return " ".join(str(error).split()) or type(error).__name__


def _explain_header(kind: str, path: str | Path) -> str:
    """Whether the header of a file that Pillow refuses is broken, or describes a variant that it does not read."""
    broken = f"a {kind} with a broken header"
    try:
        if kind == "TIFF":
            return f"a variant of TIFF that Pillow does not read: {tiff.describe(path)}"
        with Path(path).open("rb") as file:  # Pillow's own reason, which Image.open hides
            Image.OPEN[kind][0](file, str(path)).close()
    except SyntaxError as error:
        parsing = isinstance(error.__cause__, (IndexError, TypeError, KeyError, EOFError, struct.error))
        incomplete = str(error) == "not identified by this driver"  # the header has no size
        return broken if parsing or incomplete else f"a {kind} that Pillow does not read: {error}"
    except Exception:  # noqa: BLE001 - broken bytes raise many types
        return broken
    return broken


def _open(source: str | Path | io.BytesIO, kind: str) -> ImageFile.ImageFile:
    if kind == "HEIF":
        import pi_heif  # Pillow cannot read this format

        pi_heif.register_heif_opener()
    image: Any = Image.open(source, formats=[kind])
    try:
        if kind == "TIFF":
            tiff.correct(image)
        elif kind == "PPM" and image.mode == "RGB" and _find_ppm_maximum(image) == 65535:
            if image.tile[0].codec_name == "ppm":  # Pillow would keep the upper 8 bits; so it can read the lower 8
                image.tile = [image.tile[0]._replace(codec_name="raw", args=("RGB;16B", 0, 1))]
        elif kind == "PNG" and _get_raw_mode(image) == "LA;16B":  # these are read as bytes
            image._mode = "RGBA"
            image.tile = [tile._replace(args="RGBA") for tile in image.tile]
            image.info["bytes"] = True
        elif kind == "PNG" and "transparency" in image.info:  # Pillow scales the colors to 8 bits, but not this one
            image.info["transparency"] *= {"L;2": 85, "L;4": 17}.get(_get_raw_mode(image), 1)
    except BaseException:
        image.close()
        raise
    return image


def _get_raw_mode(image: ImageFile.ImageFile) -> str:
    """Pillow's name of how the pixels are stored."""
    arguments = tiles[0].args if (tiles := getattr(image, "tile", None)) else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _find_ppm_maximum(image: ImageFile.ImageFile) -> int | None:
    """The value of white of a PPM that Pillow scales."""
    tiles: Any = image.tile
    scaled = tiles and tiles[0].codec_name.startswith("ppm") and image.mode != "1"
    return int(np.ravel(tiles[0].args)[-1]) if scaled else None


def _read(source: str | Path | io.BytesIO, kind: str) -> tuple[NDArray[np.uint8], Size]:
    with _open(source, kind) as image:
        size = image.size
        with LOCK if _prepare(image, kind) > LARGE else nullcontext():
            depth = _Depth(image, kind)
            image.load()
            orientation = _find_orientation(image)
            reduced = _drop_alpha(_reduce_depth(image, source, depth), kind, getattr(image, "tag_v2", {}))
            pixels = _to_rgb(reduced, image.info)
            if orientation > 1:
                pixels = pixels.transpose(Image.Transpose[TURNS[orientation - 2]])
            return np.asarray(pixels), size[::-1] if orientation > 4 else size


def _prepare(image: Image.Image, kind: str) -> int:
    """Let a JPEG be scaled while it is decoded; return the number of pixels in memory. ValueError if too many."""
    claimed = math.prod(image.size)
    image.draft("RGB", (MIN_SIDE, MIN_SIDE))
    scaled = kind == "JPEG" and not image.info.get("progressive")  # a progressive one is decoded at full size
    cost = math.prod(image.size) if scaled else claimed
    limit = MAX_PIXELS if cost > MAX_PIXELS else MAX_SCALED_PIXELS
    if claimed > limit:
        raise ValueError(f"it has {claimed:,} pixels, and at most {limit:,} are decoded")
    return cost


def _find_orientation(image: Image.Image) -> int:
    """Exif's number, 1..8; 1 for an upright photo."""
    try:
        number: Any = image.getexif().get(metadata.ORIENTATION)
    except Exception:  # noqa: BLE001 - any of its tags may be broken
        number = None
    number = number or metadata.find_orientation(image.info.get("exif") or b"")  # None in a HEIC without Exif
    return number if number in range(1, 9) else 1


class _Depth:
    """How an image with more than 8 bits per color is stored, which Pillow forgets when it is loaded."""

    def __init__(self, image: ImageFile.ImageFile, kind: str) -> None:
        self.kind, self.raw_mode, self.tags = kind, _get_raw_mode(image), getattr(image, "tag_v2", {})
        self.maximum = _find_ppm_maximum(image) if kind == "PPM" else None
        planes = tiff.is_compressed(image) and self.tags.get(tiff.PLANES) == 2
        self.hidden = planes and self.stored[1] == 16  # Pillow reads only the upper bits of these

    @property
    def stored(self) -> tuple[int, int]:
        """Sample format and bits of a TIFF."""
        return self.tags.get(tiff.FORMAT, (1,))[0], self.tags.get(tiff.BITS, (0,))[0]

    def find_used(self, values: NDArray[Any]) -> Sequence[int]:
        """How many of the bits may be used."""
        scaled = self.maximum not in (None, 65535) or (self.kind == "JPEG2000" and not (values & 3).any())
        return DEPTHS[-1:] if scaled else USED.get(self.stored, DEPTHS)  # Pillow has scaled fewer bits to 16


def _reduce_depth(image: ImageFile.ImageFile, source: str | Path | io.BytesIO, depth: _Depth) -> Image.Image:
    """The image with 8 bits per color.

    Pillow keeps the upper 8 of 16 bits of colors, which leaves 12-bit colors almost black. For these the lower 8 bits
    are read as well, by swapping the bytes.
    """
    key: int | Sequence[int] | None = None if image.mode == "RGBA" else image.info.get("transparency")
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        values = values.view(np.uint32) if depth.stored == (1, 32) else values  # Pillow has no mode for these
        gray = _to_eight_bits(values, depth.find_used(values))
        return _hide(255 - gray if depth.tags.get(tiff.PHOTOMETRIC) == 0 else gray, values, key)
    if image.info.pop("bytes", False):
        return Image.fromarray(_reduce_bands(np.asarray(image).view(">u2"), 1))
    deep = ";16" in depth.raw_mode or (depth.maximum or 0) == 65535 or depth.hidden
    if not deep or ((upper := np.asarray(image))[..., :3].max() >= 1 << DEPTHS[-2] - 8 and key is None):
        return image
    if depth.hidden or not COLORS_16.fullmatch(depth.raw_mode):
        raise ValueError("its 16-bit colors are all dark, and Pillow reads only their upper 8 bits")
    with _open(source, depth.kind) as swapped:
        tiff.change_raw_modes(swapped, lambda mode: mode[:-1] + SWAPPED[mode[-1]])
        values = upper.astype(np.uint16) << 8 | np.asarray(swapped)
    return _hide(_reduce_bands(values, 3), values, key)


def _reduce_bands(values: NDArray[np.uint16], colors: int) -> NDArray[np.uint8]:
    """16-bit colors, and alpha if there are more bands, with 8 bits."""
    bands = [_to_eight_bits(band, DEPTHS) for band in (values[..., :colors], values[..., colors:]) if band.size]
    return np.concatenate(bands, -1)


def _hide(pixels: NDArray[np.uint8], values: NDArray[Any], key: int | Sequence[int] | None) -> Image.Image:
    """An image in which the color `key`, one of the values, is transparent."""
    if key is None:
        return Image.fromarray(pixels)
    seen = (values.reshape(*pixels.shape[:2], -1) != key).any(-1)
    return Image.fromarray(np.dstack([pixels, np.where(seen, np.uint8(255), np.uint8(0))]))


def _to_eight_bits(values: NDArray[Any], depths: Sequence[int]) -> NDArray[np.uint8]:
    """Scale integers of 16 or 32 bits or floats, which Pillow would clip, to 0..255."""
    white = _find_white(values, depths)
    shares = (np.clip(np.nan_to_num(rows.astype(np.float64)) / white, 0, 1) for rows in _split(values))
    return np.concatenate([np.rint(rows * 255).astype(np.uint8) for rows in shares])


def _split(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Blocks of rows; as floats, all would take gigabytes."""
    return (values[at : at + ROWS] for at in range(0, len(values), ROWS))


def _find_white(values: NDArray[Any], depths: Sequence[int]) -> int:
    """The end of the smallest usual range with all values, because cameras write 10, 12 or 14 bits to files of 16.

    Of floats, a few values may be outside, and others by a little. ValueError if the range is doubtful.
    """
    overshoot, outliers = (OVERSHOOT, int(OUTLIERS * values.size)) if values.dtype.kind == "f" else (0, 0)

    def exceed(limit: float) -> bool:
        return sum(int((rows > limit).sum()) for rows in _split(values)) > outliers

    ends = [(1 << bits) - 1 for bits in depths]
    place = next((place for place, end in enumerate(ends) if not exceed(end * (1 + overshoot))), None)
    if place is None:
        raise ValueError(f"its values exceed {ends[-1]:,}, so it is unclear which is white")
    white, smaller = ends[place], ends[place - 1] if place else ends[place]
    fractions = smaller == 1 and place and float(((values > 0) & (values < 1)).mean()) > OVERSHOOT
    if fractions or (white > DARK * smaller and not exceed(white / DARK)):
        raise ValueError(f"its values exceed {smaller:,} but are far from {white:,}, so it is unclear which is white")
    if sum(int((rows < -overshoot * white).sum()) for rows in _split(values)) > outliers:
        raise ValueError("it has negative values, so it is unclear which is black")
    return white


def _drop_alpha(image: Image.Image, kind: str, tags: tiff.Tags) -> Image.Image:
    """Without a fourth band that is not transparency: unused in a BMP, or of an unspecified kind in a TIFF."""
    if image.mode != "RGBA" or kind not in ("BMP", "TIFF"):
        return image
    unused = image.getchannel("A").getextrema() == (0, 0) if kind == "BMP" else not any(tags.get(tiff.EXTRA, ()))
    return image.convert("RGB") if unused else image


def _to_rgb(image: Image.Image, info: dict[Any, Any]) -> Image.Image:
    """Reduce a large image, convert its colors to sRGB, and put transparent pixels on white."""
    profile = info.get("icc_profile")
    image = color.to_srgb(image, profile) if image.mode in ("CMYK", "LAB") else image
    image = image.convert("LA") if image.mode == "La" else image  # the only mode to which Pillow converts it
    mode = "RGBA" if image.has_transparency_data else "L" if image.mode == "L" else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if (factor := math.ceil(math.sqrt(math.prod(image.size) / LARGE))) > 1:
        image = image.reduce(factor)
    image = color.to_srgb(image, profile)
    if "gamma" in info and not profile and "srgb" not in info:
        image = color.correct_gamma(image, info["gamma"])
    if mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
