"""One photo's pixels: the decoder of the whole pipeline."""

import io
import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from smallset.images import formats, metadata
from smallset.pipeline.errors import SmallsetError

ENOUGH = 1024  # px, more than any network here takes
LARGE = 25_000_000  # pixels; a photo of more is decoded alone, and made smaller at once
MOST = 90_000_000  # pixels that are decoded in full: a file of a few kB can claim gigabytes
MOST_SCALED = 260_000_000  # pixels of a JPEG that becomes smaller while it is decoded: phones have 200 million

ALONE = threading.Lock()
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEPTHS = (8, 10, 12, 14, 16)  # bits a colour, of cameras and scanners
BITS, REDUCED, DNG = 258, 254, 50706  # tags of TIFF: bits a colour; 1 for a preview; the version of a DNG file
HOST = "L" if sys.byteorder == "little" else "B"
# How Pillow unpacks colours of 16 bits, and how it does when their bytes come in the other order.
SWAPPED = {
    f"{mode};16{order}": f"{mode};16{'B' if (HOST if order == 'N' else order) == 'L' else 'L'}"
    for mode in ("RGB", "RGBA")
    for order in "LBN"
}
ROWS = 256  # of deep pixels that become floats at a time

Image.MAX_IMAGE_PIXELS = None  # it bounds what a file claims; MOST, what is decoded
warnings.filterwarnings("ignore", module="PIL")  # of metadata, which play no part

Source = str | Path | io.BytesIO
Result = TypeVar("Result")


def decode(path: str | Path) -> NDArray[np.uint8]:
    """Decode in full, upright, to RGB (height, width, 3), uint8; SmallsetError says why a file does not decode.

    Of an animation the first frame; what is transparent is white; more than 8 bits are scaled to 8, see `_eight_bits`.
    A JPEG with both sides of 2 * ENOUGH px or more is halved, as often as it can be, while it is decoded; after that, a
    photo of more than LARGE pixels is divided by the smallest number that suffices. Broken metadata are lost, no more.
    """
    return _attempted(path, _pixels)


def size(path: str | Path) -> tuple[int, int]:
    """Width and height, px, as the header has them; SmallsetError as in `decode`."""
    return _attempted(path, _size)


def _attempted(path: str | Path, use: Callable[[Source, str], Result]) -> Result:
    """What `use` makes of a photo and its format, without its metadata if they are in the way."""
    kind = _kind(path)
    try:
        return use(path, kind)
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise many kinds on broken bytes
        try:
            return use(io.BytesIO(metadata.without(Path(path).read_bytes(), kind)), kind)
        except Exception:  # noqa: BLE001 - the first error is the one to tell
            raise SmallsetError(f"{path}: does not decode as a photo: {_words(error, kind)}") from error


def _kind(path: str | Path) -> str:
    """The format that the file's first bytes say; its name says nothing."""
    try:
        head = formats.head(path)
    except FileNotFoundError:
        raise SmallsetError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # as of a name with a zero byte
        raise SmallsetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if formats.RAW.search(str(path)):
        raise SmallsetError(f"{path}: {formats.NO_RAW}")
    kind = formats.of(head)
    if kind is None:
        raise SmallsetError(f"{path}: {formats.no_photo(head)}")
    return kind


def _words(error: Exception, kind: str) -> str:
    if isinstance(error, ImportError):
        return f"{kind} needs pi-heif: pip install pi-heif"
    if isinstance(error, UnidentifiedImageError):
        return f"a {kind} whose header is broken"
    return " ".join(str(error).split()) or type(error).__name__


def _opened(source: Source, kind: str) -> Image.Image:
    """The photo with its header read; ValueError for the preview in a RAW file."""
    if kind == "HEIF":
        import pi_heif  # a phone's format, which Pillow does not know

        pi_heif.register_heif_opener()
    image = Image.open(source, formats=[kind])
    tags: Any = getattr(image, "tag_v2", {})
    if DNG in tags or tags.get(REDUCED) == 1:
        image.close()
        raise ValueError(formats.NO_RAW)
    return image


def _size(source: Source, kind: str) -> tuple[int, int]:
    with _opened(source, kind) as image:
        return image.size


def _pixels(source: Source, kind: str) -> NDArray[np.uint8]:
    with _opened(source, kind) as image, ALONE if _cost(image, kind) > LARGE else nullcontext():
        raw = _rawmode(image)
        image.load()
        turn = _turn(image)
        pixels = _rgb(_shallow(image, source, kind, raw))
        return np.asarray(pixels if turn is None else pixels.transpose(turn))


def _cost(image: Image.Image, kind: str) -> int:
    """How many pixels are held in decoding, those of a large JPEG scaled; ValueError for too many."""
    claimed = math.prod(image.size)
    image.draft("RGB", (ENOUGH, ENOUGH))
    scaled = kind == "JPEG" and not image.info.get("progressive")  # a progressive one is held whole all the same
    most, cost = (MOST_SCALED, math.prod(image.size)) if scaled else (MOST, claimed)
    if claimed > most or cost > MOST:
        raise ValueError(
            f"{claimed:,} pixels, of which at most {min(most, MOST) if cost > MOST else most:,} are decoded"
        )
    return cost


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn the photo upright."""
    try:
        found = image.getexif().get(metadata.ORIENTATION)
    except Exception:  # noqa: BLE001 - of any of its tags
        found = None
    own = image.info.get("exif") or b""  # None in a HEIC that has no Exif
    return TURNS.get(found or metadata.orientation(own) or 1)


def _rawmode(image: Image.Image) -> str:
    """How Pillow unpacks the pixels; known until they are loaded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _shallow(image: Image.Image, source: Source, kind: str, raw: str) -> Image.Image:
    """The same with 8 bits a colour.

    Of colours in 16 bits Pillow keeps the upper half alone, which of 12 bits is near black: then the lower half is read
    as well, as if the bytes came in the other order.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        bits = getattr(image, "tag_v2", {}).get(BITS, (0,))[0]
        top = (1 << bits) - 1 if bits == 12 else None
        return Image.fromarray(_eight_bits(np.asarray(image), [] if image.mode.startswith("I;16") else [1], top))
    upper = np.asarray(image)
    if raw not in SWAPPED or upper[..., :3].max() >= 1 << DEPTHS[-2] - 8:
        return image
    other: Any
    with Image.open(source, formats=[kind]) as other:
        other.tile = [
            tile._replace(args=(SWAPPED[raw], *tile.args[1:]) if isinstance(tile.args, tuple) else SWAPPED[raw])
            for tile in other.tile
        ]
        values = upper.astype(np.uint16) << 8 | np.asarray(other)
    bands = [values[..., :3], values[..., 3:]][: 1 + (image.mode == "RGBA")]
    return Image.fromarray(np.concatenate([_eight_bits(band, []) for band in bands], -1), image.mode)


def _eight_bits(values: NDArray[Any], tops: Sequence[float], top: float | None = None) -> NDArray[np.uint8]:
    """Values of 16 or 32 bits or floats, which Pillow would clip, as 0..255.

    top: what is white. Where that is not known, it is the end of the smallest usual range that holds all values:
    cameras write 10, 12 or 14 bits into files of 16, and PNG's sBIT, which seems to tell, speaks of values that fill
    all 16. A photo as dark as that in all of 16 bits would be near black.
    """
    highest = max(float(np.nan_to_num(rows.astype(np.float64)).max()) for rows in _blocks(values))
    ranges = [*tops, *(2**bits - 1 for bits in DEPTHS), highest]
    white = top or next(one for one in ranges if highest <= one)
    shares = (np.clip(np.nan_to_num(rows.astype(np.float64)) / white, 0, 1) for rows in _blocks(values))
    return np.concatenate([np.rint(rows * 255).astype(np.uint8) for rows in shares])


def _blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Some rows at a time: as floats, all of a large photo would take gigabytes."""
    return (values[at : at + ROWS] for at in range(0, len(values), ROWS))


def _rgb(image: Image.Image) -> Image.Image:
    """On white where it is transparent, and no larger than LARGE."""
    mode = "RGBA" if image.has_transparency_data else "L" if image.mode == "L" else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if (factor := math.ceil(math.sqrt(math.prod(image.size) / LARGE))) > 1:
        image = image.reduce(factor)
    if mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
