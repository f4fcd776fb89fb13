"""Decode photos: the only place where smallset reads pixels from files."""

import io
import math
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from smallset.images import formats, metadata
from smallset.pipeline.errors import SmallsetError

MIN_SIDE = 1024  # px: a JPEG is not scaled below this while it is decoded; no network here takes more
LARGE = 25_000_000  # pixels: photos with more are decoded one at a time and reduced at once
MAX_PIXELS = 90_000_000  # decoded at full size: a file of a few kB can claim gigabytes
MAX_SCALED_PIXELS = 260_000_000  # of a JPEG that is scaled while it is decoded: phones have 200 million
LOCK = threading.Lock()  # held while a large photo is decoded

# By Exif's number of the orientation, from 2 on.
TURNS = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
DEPTHS = (8, 10, 12, 14, 16)  # bits per color of cameras and scanners
BITS, REDUCED, DNG = 258, 254, 50706  # TIFF tags: bits per color; 1 for a preview; the version of a DNG file
# The last letter of Pillow's names of 16-bit colors is their byte order -> the other order.
SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
ROWS = 256  # of pixels with more than 8 bits that are converted at once

Size = tuple[int, int]  # width and height in px


def decode(path: str | Path) -> NDArray[np.uint8]:
    """Decode a photo completely, upright, to RGB (height, width, 3).

    Animations give their first frame, transparent pixels become white, and more than 8 bits are scaled to 8 (see
    `_to_eight_bits`). A JPEG whose sides are at least 2 * MIN_SIDE px is halved, repeatedly, while it is decoded; then
    a photo of more than LARGE pixels is reduced. Broken metadata are ignored. Pillow's own limit, MAX_IMAGE_PIXELS,
    applies as well, unless `process.prepare` removed it. A SmallsetError says why a file does not decode.
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
            raise SmallsetError(f"{path}: does not decode as a photo: {_explain(error, kind)}") from error


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


def _explain(error: Exception, kind: str) -> str:
    if isinstance(error, ImportError):
        return f"{kind} needs pi-heif: pip install pi-heif"
    if isinstance(error, UnidentifiedImageError):
        return f"a {kind} with a broken header"
    return " ".join(str(error).split()) or type(error).__name__


def _open(source: str | Path | io.BytesIO, kind: str) -> Image.Image:
    if kind == "HEIF":
        import pi_heif  # Pillow cannot read this format

        pi_heif.register_heif_opener()
    image = Image.open(source, formats=[kind])
    tags: Any = getattr(image, "tag_v2", {})
    if DNG in tags or tags.get(REDUCED) == 1:
        image.close()
        raise ValueError(formats.NO_RAW)
    return image


def _read(source: str | Path | io.BytesIO, kind: str) -> tuple[NDArray[np.uint8], Size]:
    with _open(source, kind) as image:
        size = image.size
        with LOCK if _prepare(image, kind) > LARGE else nullcontext():
            tiles = getattr(image, "tile", None)
            arguments = tiles[0].args if tiles else ""
            raw_mode = str(arguments[0] if isinstance(arguments, tuple) else arguments)
            image.load()
            orientation = _find_orientation(image)
            pixels = _to_rgb(_reduce_depth(image, source, kind, raw_mode))
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


def _reduce_depth(image: Image.Image, source: str | Path | io.BytesIO, kind: str, raw_mode: str) -> Image.Image:
    """The image with 8 bits per color.

    Pillow keeps the upper 8 of 16 bits of colors, which leaves 12-bit colors almost black. For these the lower 8 bits
    are read as well, by swapping the bytes.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        bits = getattr(image, "tag_v2", {}).get(BITS, (0,))[0]
        white = (1 << bits) - 1 if bits == 12 else None
        return Image.fromarray(_to_eight_bits(np.asarray(image), [] if image.mode.startswith("I;16") else [1], white))
    upper = np.asarray(image)
    if raw_mode[:-1] not in ("RGB;16", "RGBA;16") or upper[..., :3].max() >= 1 << DEPTHS[-2] - 8:
        return image
    swapped: Any
    with Image.open(source, formats=[kind]) as swapped:
        mode = raw_mode[:-1] + SWAPPED[raw_mode[-1]]
        arguments = [(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode for tile in swapped.tile]
        swapped.tile = [tile._replace(args=args) for tile, args in zip(swapped.tile, arguments, strict=True)]
        values = upper.astype(np.uint16) << 8 | np.asarray(swapped)
    bands = [values[..., :3], values[..., 3:]][: 1 + (image.mode == "RGBA")]
    return Image.fromarray(np.concatenate([_to_eight_bits(band, []) for band in bands], -1), image.mode)


def _to_eight_bits(values: NDArray[Any], ranges: Sequence[float], white: float | None = None) -> NDArray[np.uint8]:
    """Scale integers of 16 or 32 bits or floats, which Pillow would clip, to 0..255.

    Unless `white` is known, it is the end of the smallest usual range that contains all values: of `ranges`, or of
    DEPTHS, because cameras write 10, 12 or 14 bits to files of 16.
    """
    blocks = [values[at : at + ROWS] for at in range(0, len(values), ROWS)]  # as floats, all would take gigabytes
    highest = max(float(np.nan_to_num(rows.astype(np.float64)).max()) for rows in blocks)
    ends = [*ranges, *(2**bits - 1 for bits in DEPTHS), highest]
    limit = white or next(end for end in ends if highest <= end)
    shares = (np.clip(np.nan_to_num(rows.astype(np.float64)) / limit, 0, 1) for rows in blocks)
    return np.concatenate([np.rint(rows * 255).astype(np.uint8) for rows in shares])


def _to_rgb(image: Image.Image) -> Image.Image:
    """Reduce a large image, and put transparent pixels on white."""
    mode = "RGBA" if image.has_transparency_data else "L" if image.mode == "L" else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if (factor := math.ceil(math.sqrt(math.prod(image.size) / LARGE))) > 1:
        image = image.reduce(factor)
    if mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
