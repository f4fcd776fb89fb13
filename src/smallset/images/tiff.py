"""TIFF files: which page is the photo, and what Pillow would read wrongly.

docs/formats.md lists the variants that are read and those that are refused.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import ImageFile, ImagePalette, TiffImagePlugin

from smallset.images import formats

# Tags
SUBFILE, OLD_SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 255, 258, 259, 262, 266
SAMPLES, PLANES, COLORMAP, SUB_IFDS, INKS, EXTRA, FORMAT = 277, 284, 320, 330, 332, 338, 339
SUBSAMPLING, BLACK_WHITE, DNG = 530, 532, 50706

PREVIEW = 0b101  # bits of SUBFILE: a reduced page or a mask
FULL_RANGE = ((0, 255, 128, 255, 128, 255), None)  # values of BLACK_WHITE with which YCbCr is read
NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}  # libtiff has swapped the bytes already
IN_PLANES = ("L", "P", "RGB", "RGBA", "CMYK")  # modes that may be stored as one plane per color
DESCRIBED = {
    COMPRESSION: "compression",
    PHOTOMETRIC: "photometric interpretation",
    BITS: "bits per sample",
    FORMAT: "sample format",
    EXTRA: "extra samples",
    PLANES: "planar configuration",
}

Tags = Mapping[int, Any] | TiffImagePlugin.ImageFileDirectory_v2


def correct(image: TiffImagePlugin.TiffImageFile) -> None:
    """Let Pillow read an opened TIFF correctly; ValueError with the reason if it cannot."""
    # Pillow maps an uncompressed file into memory with the size that it has after it is turned, which scrambles
    # the rows. Without a name it reads the file.
    image.filename = ""
    _select_page(image)
    tags = image.tag_v2
    if tags.get(PLANES) == 2 and tags.get(SAMPLES, 1) == 1:  # one plane: Pillow would ignore how many bits it has
        tags[PLANES] = 1
        image._setup()
    if reason := _find_obstacle(image, tags):
        raise ValueError(reason)
    if is_compressed(image):
        change_raw_modes(image, lambda mode: NATIVE.get(mode, mode))
    elif tags.get(PLANES) == 2 and tags[BITS][0] == 16:  # Pillow reads 8 bits
        change_raw_modes(image, lambda mode: f"{mode};16{'B' if tags.prefix == b'MM' else 'L'}")
    if image.mode in ("P", "PA") and max(tags[COLORMAP]) < 256:
        # Pillow expects 0..65535: https://github.com/python-pillow/Pillow/issues/2157
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[COLORMAP]))


def is_compressed(image: ImageFile.ImageFile) -> bool:
    """Whether libtiff decodes the pixels."""
    return bool(image.tile) and image.tile[0].codec_name == "libtiff"


def change_raw_modes(image: ImageFile.ImageFile, change: Callable[[str], str]) -> None:
    """Change Pillow's names of how the pixels are stored."""
    tiles: Any = image.tile
    arguments = [(tile.args, ()) if isinstance(tile.args, str) else (tile.args[0], tile.args[1:]) for tile in tiles]
    changed = [(change(mode), *rest) if rest else change(mode) for mode, rest in arguments]
    image.tile = [tile._replace(args=args) for tile, args in zip(tiles, changed, strict=True)]


def _select_page(image: TiffImagePlugin.TiffImageFile) -> None:
    """Scanners may write a preview or a mask as the first page; RAW files have no other page."""
    number = 0
    while _is_preview(image.tag_v2):
        number += 1
        try:
            image.seek(number)
        except EOFError:
            image.seek(0)
            if SUB_IFDS in image.tag_v2:
                raise ValueError(formats.NO_RAW) from None
            break
        except SyntaxError as error:
            if not _is_preview(image.tag_v2):
                raise ValueError(f"Pillow does not read the photo after its preview: {error}") from None
    if DNG in image.tag_v2:
        raise ValueError(formats.NO_RAW)


def _is_preview(tags: Tags) -> bool:
    return bool(tags.get(SUBFILE, 0) & PREVIEW) or tags.get(OLD_SUBFILE) == 2


def _find_obstacle(image: TiffImagePlugin.TiffImageFile, tags: Tags) -> str | None:
    """Why Pillow would read other colors than those in the file; None if it would not."""
    bits, packed = tags.get(BITS, (1,))[0], not is_compressed(image)
    tiles: Any = image.tile
    letters = "".join(tile.args[0] for tile in tiles) if packed else ""
    unread = packed and (tags.get(FILL_ORDER, 1) != 1 or not (letters.isalpha() and letters.isupper()))
    unread = unread or image.mode not in IN_PLANES or (image.mode == "RGBA" and EXTRA not in tags)
    ycbcr = packed and image.mode == "YCbCr"
    obstacles = {
        "it does not say whether 0 is black or white": PHOTOMETRIC not in tags,
        "its colors are signed 8-bit numbers": bits == 8 and 2 in tags.get(FORMAT, (1,)),
        "its inks are not those of CMYK": image.mode == "CMYK" and tags.get(INKS, 1) != 1,
        "it is uncompressed YCbCr with fewer colors than pixels": ycbcr and tags.get(SUBSAMPLING, (2, 2)) != (1, 1),
        "it is uncompressed YCbCr in a limited range": ycbcr and tags.get(BLACK_WHITE) not in FULL_RANGE,
        "its colors are stored in planes that Pillow does not read": tags.get(PLANES) == 2 and unread,
    }
    return next((reason for reason, applies in obstacles.items() if applies), None)


def describe(path: str | Path) -> str:
    """The properties that decide whether Pillow reads a TIFF; an exception if its header is broken."""
    with Path(path).open("rb") as file:
        head = file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head + (file.read(8) if 43 in head[2:4] else b""))
        file.seek(tags.next)
        tags.load(file)
    present = {name: tags[tag] for tag, name in DESCRIBED.items() if tag in tags}
    if not present:
        raise ValueError("no tags")
    lists = {name: value if isinstance(value, tuple) else (value,) for name, value in present.items()}
    return "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in lists.items())
