"""docs/formats.md says which files are read, turned, scaled or refused; each is written here, without a library.

`python tests/test_formats.py` writes the table again.
"""

import functools
import io
import itertools
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from profiles import DISPLAY_P3, PROPHOTO, SRGB, make_profile

from smallset.images import color, decoding
from smallset.pipeline.errors import SmallsetError

PAGE = Path(__file__).parents[1] / "docs/formats.md"
HEIGHT, WIDTH = 32, 48
Y, X = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack([X * 255 // 47, Y * 255 // 31, (X + 2 * Y) * 255 // 109], -1).astype(np.uint8)
GRAY = RGB[..., 2:]
ALPHA = np.maximum(RGB[..., :1], 1)
UNUSED = np.zeros_like(GRAY)
PALETTE = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) // 2], 1)
TURNED = {  # the picture -> how it is stored, by Exif's number
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}

Pixels = NDArray[Any]


class Row(NamedTuple):
    """A row of the table: files with the same result, and their correct pixels before they are turned."""

    kind: str
    variant: str
    files: Sequence[tuple[bytes, Pixels, int]]  # content, pixels, orientation
    scaled: bool = False
    lossy: bool = False


def scale(values: Pixels, bits: int, kind: type[np.generic] = np.uint16) -> Pixels:
    return np.rint(values / 255 * (2**bits - 1)).astype(kind)


def floats(values: Any) -> Pixels:
    return np.asarray(values, np.float32)


def on_white(values: Pixels, alpha: Pixels = ALPHA) -> Pixels:
    return values * (alpha / 255) + 255 - alpha


def pack(values: Pixels, bits: int, order: str) -> bytes:
    """Samples as bytes; those with other than whole bytes from the highest bit on, each row in whole bytes."""
    if bits % 8 == 0:
        return values.astype(f"{order}{values.dtype.kind}{bits // 8}").tobytes()
    rows = values.reshape(len(values), -1, 1).astype(np.uint16) >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(rows.reshape(len(values), -1).astype(bool), axis=1).tobytes()


def write_page(samples: Pixels, offset: int, order: str, tags: Mapping[int, Sequence[int]], **layout: int) -> bytes:
    """The pixels of a page of a TIFF from an offset on, and then its tags."""
    height, width, bands = samples.shape
    bits = layout.get("bits", samples.dtype.itemsize * 8)
    rows, tile = layout.get("rows") or height, layout.get("tile", 0)
    planes = np.split(samples, bands, -1) if layout["planes"] == 2 else [samples]
    if tile:
        padded = [np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0))) for plane in planes]
        starts = list(itertools.product(range(0, height, tile), range(0, width, tile)))
        blocks = [plane[y : y + tile, x : x + tile] for plane in padded for y, x in starts]
    else:
        blocks = [plane[y : y + rows] for plane in planes for y in range(0, height, rows)]
    parts = [pack(block, bits, order) for block in blocks]
    parts = [zlib.compress(part) for part in parts] if layout["compression"] == 8 else parts
    parts = [part + bytes(len(part) % 2) for part in parts]
    places = [offset + sum(map(len, parts[:number])) for number in range(len(parts))]
    lengths = list(map(len, parts))
    where: Mapping[int, Sequence[int]] = (
        {322: [tile], 323: [tile], 324: places, 325: lengths} if tile else {273: places, 278: [rows], 279: lengths}
    )
    needed = {256: [width], 257: [height], 258: [bits] * bands, 259: [layout["compression"]], 277: [bands]}
    return b"".join(parts) + write_tags(
        {**needed, 284: [layout["planes"]], **where, **tags}, offset + sum(lengths), order
    )


def write_tags(tags: Mapping[int, Sequence[int]], offset: int, order: str) -> bytes:
    entries, beyond, start = b"", b"", offset + 6 + 12 * len(tags)
    for tag, values in sorted(tags.items()):
        code, number = ("I", 4) if tag in (254, 273, 279, 324, 325, 330) else ("H", 3)
        content = struct.pack(f"{order}{len(values)}{code}", *map(int, values))
        place = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack(f"{order}I", start + len(beyond))
        entries += struct.pack(f"{order}HHI", tag, number, len(values)) + place
        beyond += content if len(content) > 4 else b""
    return struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + beyond


def make_tiff(*pages: tuple[Pixels, Mapping[int, Sequence[int]]], order: str = "<", **layout: int) -> bytes:
    content = bytearray({"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 0))
    link = 4
    for samples, tags in pages:
        page = write_page(samples, len(content), order, tags, **{"planes": 1, "compression": 1, **layout})
        count = page.rindex(struct.pack(f"{order}HHI", min({256, *tags}), 4 if 254 in tags else 3, 1)) - 2
        struct.pack_into(f"{order}I", content, link, len(content) + count)
        entries = struct.unpack_from(f"{order}H", page, count)[0]
        link = len(content) + count + 2 + 12 * entries
        content += page
    return bytes(content)


def write_tiffs(
    samples: Pixels,
    pixels: Pixels,
    photometric: int,
    orders: str = "<>",
    planes: Sequence[int] = (1,),
    compressions: Sequence[int] = (1, 8),
    bits: int = 0,
    **tags: Sequence[int],
) -> list[tuple[bytes, Pixels, int]]:
    """A TIFF in both byte orders, in one or many strips or tiles, in all orientations, with and without compression."""
    known = {"extra": 338, "format": 339, "palette": 320, "inks": 332, "subsampling": 530, "fill": 266}
    numbers = {262: [photometric], **{known[name]: values for name, values in tags.items()}}
    layouts: list[dict[str, int]] = [{}, {"rows": 7}, {"tile": 16}]
    files = []
    turns = itertools.cycle(range(2, 9))
    for order, plane, compression, layout in itertools.product(orders, planes, compressions, layouts):
        shape = {**layout, "planes": plane, "compression": compression, **({"bits": bits} if bits else {})}
        for turn in (1, next(turns)):
            page = (samples, {**numbers, **({274: [turn]} if turn > 1 else {})})
            files.append((make_tiff(page, order=order, **shape), pixels, turn))
    return files


def list_tiffs() -> Iterator[Row]:
    """The rows about TIFF."""

    def row(variant: str, *files: Any, scaled: bool = False) -> Row:
        return Row("TIFF", variant, list(itertools.chain(*files)), scaled=scaled)

    gray = np.repeat(GRAY, 3, -1)
    inks = np.dstack([255 - RGB, UNUSED])
    yield row(
        "gray, 8 bits", write_tiffs(GRAY, gray, 1, planes=(1, 2)), write_tiffs(255 - GRAY, gray, 0, planes=(1, 2))
    )
    for bits in (1, 2, 4):
        few = GRAY >> 8 - bits
        wide = np.repeat(few.astype(int) * 255 // (2**bits - 1), 3, -1)
        plain = write_tiffs(few, wide, 1, planes=(1, 2), bits=bits)
        yield row(f"gray, {bits} bits", plain, write_tiffs(2**bits - 1 - few, wide, 0, planes=(1, 2), bits=bits))
    both = (1, 2)
    for bits in (10, 12, 14, 16):
        plain = write_tiffs(scale(GRAY, bits), gray, 1, planes=both)
        name = "gray, 16 bits" if bits == 16 else f"gray, {bits} bits stored in 16"
        yield row(name, plain, write_tiffs(scale(255 - GRAY, bits), gray, 0, "<", both), scaled=True)
    yield row("gray, 16 bits, 0 is white, MM", write_tiffs(scale(255 - GRAY, 16), gray, 0, ">"))
    yield row("gray, 12 bits, II", write_tiffs(scale(GRAY, 12), gray, 1, "<", both, bits=12), scaled=True)
    yield row("gray, 12 bits, MM", write_tiffs(scale(GRAY, 12), gray, 1, ">", bits=12))
    yield row("gray, 10 bits", write_tiffs(scale(GRAY, 10), gray, 1, bits=10))
    yield row(
        "gray, 32 bits, II",
        *(write_tiffs(scale(GRAY, bits, np.uint32), gray, 1, "<", both) for bits in (12, 16, 32)),
        scaled=True,
    )
    yield row("gray, 32 bits, MM", write_tiffs(scale(GRAY, 32, np.uint32), gray, 1, ">"))
    for bits, kind in ((16, np.int16), (32, np.int32)):
        signed = (write_tiffs(scale(GRAY, used, kind), gray, 1, planes=both, format=[2]) for used in (12, bits - 1))
        yield row(f"gray, {bits} bits with sign", *signed, scaled=True)
    yield row("gray with negative values", write_tiffs(scale(GRAY, 15).astype(np.int16) - 9000, gray, 1, format=[2]))
    yield row("gray, 8 bits with sign", write_tiffs((GRAY // 2).astype(np.int8), gray, 1, format=[2]))
    yield row("gray, 32 bits with sign, up to 100,000", write_tiffs(GRAY.astype(np.int32) * 392, gray, 1, format=[2]))
    for end in (1, 255, 65535):
        files = [write_tiffs(floats(GRAY / 255 * end), gray, 1, planes=both, format=[3])]
        files += [write_tiffs(floats((255 - GRAY) / 255 * end), gray, 0, planes=both, format=[3])]
        beyond = np.clip(np.rint(GRAY * 1.1 - 12), 0, 255).repeat(3, -1)
        files += [write_tiffs(floats((GRAY * 1.1 - 12) / 255 * end), beyond, 1, format=[3])]
        for defect, level in ((7.5, 255), (np.inf, 255), (-np.inf, 0), (np.nan, 0)):
            samples, pixels = floats(GRAY / 255 * end), gray.copy()
            samples[3, 5], pixels[3, 5] = defect * end, level
            files.append(write_tiffs(samples, pixels, 1, format=[3]))
        yield row(f"gray, 32-bit floats, 0..{end}", *files, scaled=True)
    bright = np.where(GRAY > 200, 9, GRAY / 255).astype(np.float32)
    yield row("gray, 32-bit floats, many a little above 1", write_tiffs(bright, gray, 1, format=[3]))
    yield row("gray, 32-bit floats, -1..1", write_tiffs(floats(GRAY / 127.5 - 1), gray, 1, format=[3]))
    others = [
        write_tiffs(GRAY / 255, gray, 1, format=[3]),
        write_tiffs((GRAY / 255).astype(np.float16), gray, 1, format=[3]),
    ]
    yield row(
        "gray, floats of 16 or 64 bits; colors, floats",
        *others,
        write_tiffs(floats(RGB / 255), RGB, 2, format=[3] * 3),
    )
    with_alpha = [np.dstack([GRAY, ALPHA]), np.dstack([np.rint(GRAY * (ALPHA / 255)).astype(np.uint8), ALPHA])]
    files = [write_tiffs(with_alpha[kind == 1], on_white(gray), 1, extra=[kind]) for kind in (1, 2)]
    yield row("gray and alpha, 8 bits", *files, write_tiffs(np.dstack([GRAY, UNUSED]), gray, 1, extra=[0]))
    yield row("gray and alpha, 16 bits", write_tiffs(scale(with_alpha[0], 16), gray, 1, extra=[2]))
    for bits in (1, 2, 4, 8):
        few = GRAY >> 8 - bits
        maps = [(PALETTE[: 2**bits].T * factor).ravel() for factor in (1, 256, 257)]
        files = [
            write_tiffs(few, PALETTE[few[..., 0]], 3, planes=both, bits=bits, palette=part.tolist()) for part in maps
        ]
        yield row(f"palette, {bits} bits, colors 0..255 or 0..65535", *files)
    for bits in (8, 10, 12, 14, 16):
        stored, opaque = (scale(RGB, bits), scale(ALPHA, 16)) if bits > 8 else (RGB, ALPHA)
        seen, unused = np.dstack([stored, opaque]), np.dstack([stored, 0 * opaque])
        files = [write_tiffs(stored, RGB, 2), write_tiffs(stored, RGB, 2, planes=(2,), compressions=(1,))]
        files += [write_tiffs(seen, on_white(RGB), 2, extra=[2])]
        files += [write_tiffs(seen, on_white(RGB), 2, planes=(2,), compressions=(1,), extra=[2])]
        files += [write_tiffs(unused, RGB, 2, extra=[0])]
        files += [write_tiffs(unused, RGB, 2)]
        name = f"colors, with or without alpha, {bits} bits" if bits in (8, 16) else f"colors, {bits} bits stored in 16"
        yield row(name, *files, scaled=bits > 8)
    packed = [write_tiffs(scale(RGB, 12), RGB, 2, bits=12), write_tiffs(scale(RGB, 32, np.uint32), RGB, 2)]
    yield row("colors, 12 or 32 bits", *packed, write_tiffs(scale(RGB, 15).astype(np.int16), RGB, 2, format=[2] * 3))
    packed = [write_tiffs(used, RGB, 2, planes=(2,), compressions=(8,)) for used in (RGB, scale(RGB, 16))]
    yield row("colors in planes, 8 or 16 bits, compressed", *packed, scaled=True)
    yield row(
        "colors in planes, 12 bits stored in 16, compressed",
        write_tiffs(scale(RGB, 12), RGB, 2, planes=(2,), compressions=(8,)),
    )
    faded = np.dstack([scale(RGB * (ALPHA / 255), 16), scale(ALPHA, 16)])
    yield row("colors multiplied by alpha, 16 bits", write_tiffs(faded, on_white(RGB), 2, extra=[1]), scaled=True)
    yield row("CMYK, 8 or 16 bits", write_tiffs(inks, RGB, 5), write_tiffs(scale(inks, 16), RGB, 5), scaled=True)
    yield row("CMYK, 12 bits stored in 16", write_tiffs(scale(inks, 12), RGB, 5))
    yield row("other inks", write_tiffs(inks, RGB, 5, inks=[2]))
    brightness = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    pixels = np.asarray(Image.fromarray(brightness, "YCbCr").convert("RGB"))
    yield row("YCbCr, all pixels have colors", write_tiffs(brightness, pixels, 6, subsampling=[1, 1]))
    yield row("YCbCr, uncompressed, fewer colors", write_tiffs(brightness, pixels, 6, compressions=(1,)))
    yield row("L*a*b*, 8 bits", write_tiffs(*make_lab(), 8))
    compressed = [encode(RGB, "TIFF", compression=name) for name in ("tiff_lzw", "packbits", "zstd", "lzma")]
    compressed += [encode(RGB, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})]
    yield row("other compressions without loss", [(content, RGB, 1) for content in compressed])
    fax = [encode(GRAY[..., 0] > 127, "TIFF", compression=name) for name in ("group3", "group4", "tiff_ccitt")]
    yield row("fax", [(content, (gray > 127) * 255, 1) for content in fax])
    jpeg = (encode(RGB, "TIFF", compression="jpeg", quality=100), RGB, 1)
    yield Row("TIFF", "JPEG inside", [jpeg], lossy=True)
    yield row("no photometric interpretation", [(make_tiff((GRAY, {})), gray, 1)])
    yield row("reversed order of bits", write_tiffs(reverse_bits(RGB), RGB, 2, compressions=(1,), fill=[2]))
    preview = (GRAY[::4, ::4], {254: [1], 262: [1]})
    mask = (GRAY >> 7, {254: [4], 262: [4]})
    photo = (RGB, {254: [0], 262: [2]})
    yield row(
        "a preview before the photo",
        [(make_tiff(preview, photo), RGB, 1), (make_tiff(preview, mask, preview, photo), RGB, 1)],
    )
    yield row("a mask before the photo", [(make_tiff(mask, photo), RGB, 1)])
    yield row("only a preview", [(make_tiff(preview), gray[::4, ::4], 1)])
    yield row("several photos: the first", [(make_tiff(photo, (255 - RGB, photo[1])), RGB, 1)])
    raw = (GRAY[::4, ::4], {254: [1], 262: [1], 330: [8]})
    yield row("RAW: a preview, and the photo elsewhere", [(make_tiff(raw), gray, 1)])


def reverse_bits(values: Pixels) -> Pixels:
    return np.packbits(np.unpackbits(values[..., None], axis=-1, bitorder="little"), axis=-1)[..., 0]


def make_lab() -> tuple[Pixels, Pixels]:
    """Colors of CIE L*a*b* with 8 bits, and in sRGB by the formulas of CIE and IEC 61966-2-1 (D50)."""
    lab = np.stack([40 + X * 3, Y.astype(int) - 16, (X - 24) // 2], -1)
    light = (lab[..., 0] * 100 / 255 + 16) / 116
    roots = np.stack([light + lab[..., 1] / 500, light, light - lab[..., 2] / 200], -1)
    xyz = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * [0.9642, 1, 0.8249]
    matrix = np.array([[3.13386, -1.61687, -0.49061], [-0.97877, 1.91614, 0.03345], [0.07195, -0.22899, 1.40524]])
    linear = np.clip(xyz @ matrix.T, 0, 1)
    return lab.astype(np.uint8), encode_srgb(linear) * 255


def encode_srgb(linear: Pixels) -> Pixels:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def make_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def make_png(samples: Pixels, extra: bytes = b"", bits: int = 0) -> bytes:
    """A PNG with up to 16 bits per sample."""
    height, width, bands = samples.shape
    bits = bits or samples.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, bits, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    rows = b"".join(b"\0" + pack(row[None], bits, ">") for row in samples)
    chunks = [make_chunk(b"IHDR", header) + extra, make_chunk(b"IDAT", zlib.compress(rows)), make_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def make_transparent(samples: Pixels, bits: int, used: int = 0) -> tuple[bytes, Pixels, int]:
    """A PNG in which the color of one pixel is transparent."""
    key = samples[9, 9].astype(np.uint16)
    content = make_png(samples, make_chunk(b"tRNS", key.astype(">u2").tobytes()), bits)
    pixels = samples * (255 / (2 ** (used or bits) - 1)) * np.ones(3)
    return content, np.where((samples == key).all(-1, keepdims=True), 255, pixels), 1


def make_bmp(values: Pixels, bits: int, masks: Sequence[int] = ()) -> bytes:
    """A BMP with 16 or 32 bits per pixel, whose first row is at the bottom, with a header of version 4 for masks."""
    size = 108 if masks else 40
    header = struct.pack("<IiiHHIIiiII", size, WIDTH, HEIGHT, 1, bits, 3 if masks else 0, 0, 0, 0, 0, 0)
    header += struct.pack(f"<{len(masks)}I", *masks)
    pixels = np.ascontiguousarray(values[::-1]).tobytes()
    head = b"BM" + struct.pack("<IHHI", 14 + size + len(pixels), 0, 0, 14 + size)
    return head + header.ljust(size, b"\0") + pixels


def make_pnm(samples: Pixels, white: int, plain: bool = False) -> bytes:
    number = {1: 5, 3: 6}[samples.shape[2]] - 3 * plain
    kind = ">u2" if white > 255 else "u1"
    body = " ".join(map(str, samples.ravel())).encode() if plain else samples.astype(kind).tobytes()
    return f"P{number}\n{WIDTH} {HEIGHT}\n{white}\n".encode() + body


def make_exif(turn: int) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 274, 3, 1, turn, 0) + bytes(4)


def encode(samples: Pixels, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(samples).save(content, kind, **options)
    return content.getvalue()


WIDE_GAMUTS = {"Display P3": (DISPLAY_P3, 2.2), "ProPhoto": (PROPHOTO, 1.8)}


def convert(values: Pixels, primaries: Sequence[Sequence[float]], gamma: float) -> Pixels:
    """Colors of a profile of `make_profile` in sRGB."""
    linear = (values / 255) ** gamma @ np.array(primaries) @ np.linalg.inv(SRGB)
    return encode_srgb(np.clip(linear, 0, 1)) * 255


def list_others() -> Iterator[Row]:
    """The rows about other formats."""
    gray = np.repeat(GRAY, 3, -1)
    faded, mixed = np.dstack([RGB, ALPHA]), np.dstack([GRAY, ALPHA])
    turns = list(TURNED)
    plain = [(encode(RGB, "JPEG", quality=100, subsampling=0, exif=make_exif(turn)), RGB, turn) for turn in turns]
    plain += [(encode(GRAY[..., 0], "JPEG", quality=100, exif=make_exif(turn)), gray, turn) for turn in turns]
    yield Row("JPEG", "gray or colors, 8 bits", plain, lossy=True)
    twelve = plain[0][0].replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c")
    yield Row("JPEG", "12 bits", [(twelve, RGB, 1)])

    exifs = [(make_chunk(b"eXIf", make_exif(turn)[6:]), turn) for turn in turns]
    samples = [(RGB, RGB), (GRAY, gray), (faded, on_white(RGB)), (mixed, on_white(gray))]
    files = [(make_png(part, exif), pixels, turn) for part, pixels in samples for exif, turn in exifs]
    yield Row("PNG", "gray or colors, with or without alpha, 8 bits", files)
    for bits in (10, 12, 14, 16):
        used = [scale(part, bits) for part in (RGB, GRAY)]
        opaque = scale(ALPHA, 16)
        deep = [(used[0], RGB), (used[1], gray), (np.dstack([used[0], opaque]), on_white(RGB))]
        deep += [(np.dstack([used[1], opaque]), on_white(gray))]
        name = "16 bits" if bits == 16 else f"{bits} bits stored in 16"
        yield Row(
            "PNG", name, [(make_png(*part[:1], exif), part[1], turn) for part in deep for exif, turn in exifs], True
        )
    few = [make_transparent(GRAY >> 8 - bits, bits) for bits in (1, 2, 4, 8)]
    yield Row("PNG", "one transparent color, 1 to 8 bits", [*few, make_transparent(RGB, 8)])
    hidden = [
        (make_transparent(scale(part, bits) + 5 * (bits > 12), 16, bits))
        for part in (GRAY // 2, RGB // 2)
        for bits in (12, 16)
    ]
    yield Row("PNG", "one transparent color, 12 or 16 bits stored in 16", hidden, scaled=True)
    for name, gamma in (("1", 1.0), ("1/1.8", 1 / 1.8), ("1/2.2", 1 / 2.2)):
        chunk = make_chunk(b"gAMA", struct.pack(">I", round(gamma * 1e5)))
        pixels = RGB if name == "1/2.2" else encode_srgb((RGB / 255) ** (1 / gamma)) * 255
        files = [(make_png(RGB, chunk), pixels, 1), (make_png(faded, chunk), on_white(pixels), 1)]
        yield Row("PNG", f"gamma {name}", files)
    yield Row(
        "PNG",
        "gamma 1, marked as sRGB",
        [(make_png(RGB, make_chunk(b"gAMA", struct.pack(">I", 10**5)) + make_chunk(b"sRGB", b"\0")), RGB, 1)],
    )
    for name, (primaries, gamma) in WIDE_GAMUTS.items():
        icc, pixels = make_profile(primaries, gamma), convert(RGB, primaries, gamma)
        files = [(encode(RGB, kind, icc_profile=icc, **options), pixels, 1) for kind, options in LOSSLESS.items()]
        files += [(encode(np.dstack([RGB, ALPHA]), "PNG", icc_profile=icc), on_white(pixels), 1)]
        stored = np.asarray(Image.open(io.BytesIO(jpeg := encode(RGB, "JPEG", icc_profile=icc))))
        files += [(jpeg, convert(stored, primaries, gamma), 1)]
        yield Row(
            "with a color profile",
            name,
            [*files, (encode(GRAY[..., 0], "PNG", icc_profile=icc), convert(gray, primaries, gamma), 1)],
        )
    files = [
        (encode(RGB, kind, icc_profile=icc, **options), RGB, 1)
        for kind, options in LOSSLESS.items()
        for icc in (make_srgb(), b"broken")
    ]
    yield Row("with a color profile", "sRGB or broken", files)

    palette = np.arange(256, dtype=np.uint8).reshape(1, 256).repeat(9, 0)
    yield Row("GIF", "palette", [(encode(palette, "GIF"), palette[..., None].repeat(3, -1), 1)])
    blue = np.dstack([RGB[..., ::-1], UNUSED])
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    yield Row("BMP", "24 bits", [(encode(RGB, "BMP"), RGB, 1)])
    files = [(make_bmp(np.dstack([RGB[..., ::-1], ALPHA]), 32, masks), on_white(RGB), 1)]
    yield Row(
        "BMP",
        "32 bits, alpha or an unused byte",
        [*files, (make_bmp(blue, 32), RGB, 1), (make_bmp(blue, 32, masks), RGB, 1)],
    )
    levels = (RGB.astype(np.uint16) >> 3).astype(np.uint16)
    packed = levels[..., 0] << 10 | levels[..., 1] << 5 | levels[..., 2]
    yield Row("BMP", "16 bits", [(make_bmp(packed, 16), levels * 255 / 31, 1)])
    for bits in (8, 10, 12, 14, 16):
        kinds = {65535: scale, 2**bits - 1: scale}
        files = [
            (make_pnm(scale(part, bits), white), pixels, 1)
            for part, pixels in ((RGB, RGB), (GRAY, gray))
            for white in kinds
        ]
        files = [file for file in files if bits > 8 or b"\n255\n" in file[0][:16]]
        yield Row("PPM", f"{bits} bits", files, scaled=bits > 8)
    dark = np.minimum(GRAY, 50)
    yield Row("PPM", "12 bits, dark", [(make_pnm(scale(dark, 12), 4095), dark.repeat(3, -1), 1)], scaled=True)
    yield Row(
        "PPM",
        "as text, up to 16 bits",
        [(make_pnm(scale(RGB, bits), 2**bits - 1, plain=True), RGB, 1) for bits in (8, 12, 16)],
        scaled=True,
    )
    yield Row("PPM", "as text, 12 bits stored in 16", [(make_pnm(scale(RGB, 12), 65535, plain=True), RGB, 1)])
    files = [
        (encode(part, "WEBP", lossless=True, exact=True, exif=make_exif(turn)), pixels, turn)
        for part, pixels in ((RGB, RGB), (faded, on_white(RGB)))
        for turn in turns
    ]
    yield Row("WebP", "colors, with or without alpha", files)
    files = [(encode(RGB, "AVIF", quality=100, subsampling="4:4:4", exif=make_exif(turn)), RGB, turn) for turn in turns]
    yield Row("AVIF", "8 bits", files, lossy=True)
    yield Row(
        "JPEG 2000",
        "8 bits",
        [(encode(part, "JPEG2000"), pixels, 1) for part, pixels in ((RGB, RGB), (GRAY[..., 0], gray))],
    )
    files = [(encode(scale(GRAY[..., 0], bits), "JPEG2000"), gray, 1) for bits in (12, 16)]
    yield Row("JPEG 2000", "gray, 12 bits stored in 16 or 16 bits", files, scaled=True)
    for name, start in FOREIGN.items():
        yield Row("others", name, [(start.ljust(64, b"\0"), RGB, 1)])


LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}
FOREIGN = {
    "JPEG-LS": b"\xff\xd8\xff\xf7\0\x0b",
    "JPEG XL": b"\xff\x0a",
    "JPEG XR": b"II\xbc\1",
    "Photoshop": b"8BPS\0\1",
    "OpenEXR": b"v/1\1",
    "SVG": b"<svg>",
    "HTML": b"<!DOCTYPE html>",
    "PDF": b"%PDF-1.7",
    "MP4": b"\0\0\0\x20ftypisom",
    "Canon RAW": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
}


def make_srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@functools.cache
def list_rows() -> list[Row]:
    return [*list_others(), *list_tiffs()]


def find_result(row: Row, path: Path) -> str:
    """What happens to all files of a row; AssertionError if wrong pixels are read, or if the files differ."""
    results = set()
    for content, pixels, turn in row.files:
        path.write_bytes(content)
        try:
            decoded = decoding.decode(path)
        except SmallsetError as error:
            reason = str(error).removeprefix(f"{path}: ").removeprefix("does not decode as a photo: ")
            results.add("refused: " + re.sub(r"(Pillow does not read): .*", r"\1", reason))
            continue
        upright = TURNED[turn](np.asarray(pixels))
        assert decoded.shape == upright.shape, (row.variant, turn)
        distance = np.abs(decoded - upright.astype(float)).max()
        assert distance <= (6 if row.lossy else 2.5), (row.variant, turn, distance)
        results.add("scaled to 8 bits" if row.scaled else "read")
    assert len(results) == 1, (row.kind, row.variant, results)
    return results.pop()


def make_line(row: Row, path: Path) -> str:
    result = find_result(row, path)
    turned = "yes" if not result.startswith("refused") and any(turn > 1 for _, _, turn in row.files) else ""
    return f"| {row.kind} | {row.variant} | {result} | {turned} |\n"


def find_lines() -> list[str]:
    return re.findall(r"^\| .*\n", PAGE.read_text().split("|---|---|---|---|\n")[1], re.MULTILINE)


@pytest.mark.parametrize("line", find_lines(), ids=lambda line: "".join(line.split("|")[1:3]))
def test_the_table_says_what_happens_to_a_file(line: str, tmp_path: Path) -> None:
    row = next(row for row in list_rows() if line.startswith(f"| {row.kind} | {row.variant} |"))
    assert line == make_line(row, tmp_path / "photo")


def test_the_table_has_all_rows_once() -> None:
    assert [line.split(" | ")[:2] for line in find_lines()] == [[f"| {row.kind}", row.variant] for row in list_rows()]


def read_with_pillow(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), float)


@pytest.mark.parametrize(
    ("samples", "tags", "layout"),
    [
        (GRAY, {262: [1], 274: [6]}, {}),  # is mapped into memory with the wrong size
        (scale(RGB, 16), {262: [2]}, {"planes": 2}),  # planes are read as 8 bits
        (GRAY, {262: [3], 320: PALETTE.T.ravel()}, {}),  # colors 0..255 are read as 0..65535
        (floats(GRAY), {262: [1], 339: [3]}, {"compression": 8}),  # bytes are swapped twice
        (255 - GRAY, {262: [0]}, {"planes": 2}),  # one plane loses that 0 is white
        (make_lab()[0], {262: [8]}, {}),  # colors are interpolated in a small table
    ],
    ids=["mapped", "planes", "palette", "floats", "white", "lab"],
)
def test_pillow_still_needs_help(samples: Pixels, tags: Any, layout: Any, tmp_path: Path) -> None:
    """When this fails, Pillow reads the file correctly, and smallset.images needs less."""
    path = tmp_path / "photo.tif"
    path.write_bytes(make_tiff((samples, tags), order=">", **layout))
    alone, correct = read_with_pillow(path), decoding.decode(path)
    assert alone.shape != correct.shape or np.abs(alone - correct).max() > 2.5


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_photo_in_srgb_keeps_its_pixels(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    for profile in (None, b"", b"broken", make_srgb()):
        assert color.to_srgb(image, profile) is image


def write() -> None:
    """Write the table of the page again."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [make_line(row, Path(folder, "photo")) for row in list_rows()]
    start, rest = PAGE.read_text().split("|---|---|---|---|\n")
    after = re.sub(r"(?m)^\| .*\n", "", rest)
    PAGE.write_text(f"{start}|---|---|---|---|\n{''.join(lines)}{after}")


if __name__ == "__main__":
    write()
