"""Metadata that are broken: they keep Pillow from pixels that are whole, and from turning them upright."""

import struct
import zlib
from collections.abc import Iterator

ORIENTATION = 274  # tag of Exif
CHUNKS = {b"tRNS", b"eXIf"}  # of a PNG, that are kept: what is transparent, and how to turn it
SEGMENTS = {0xE0, 0xEE}  # of a JPEG, of those for applications: JFIF's and Adobe's say what its colours are


def orientation(exif: bytes) -> int | None:
    """How a photo is to be turned, by Exif's own number, whatever its other tags hold; None where it does not say."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = ">" if tiff[:2] == b"MM" else "<"
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        tags = (struct.unpack_from(f"{order}H6xH", tiff, start + 2 + 12 * number) for number in range(count))
        return next((value for tag, value in tags if tag == ORIENTATION), None)
    except struct.error:
        return None


def without(content: bytes, kind: str) -> bytes:
    """The bytes of a JPEG or PNG without what is no pixel; struct.error or ValueError for what has not their form."""
    if kind == "PNG":
        return content[:8] + b"".join(_chunks(content))
    if kind == "JPEG":
        return content[:2] + b"".join(_segments(content))
    raise ValueError(f"{kind} stays as it is")


def _chunks(content: bytes) -> Iterator[bytes]:
    """The chunks of a PNG with its pixels, and those of CHUNKS that are whole."""
    at = 8
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + 12 + length]
        critical = not name[0] & 0x20  # by the case of its first letter
        whole = len(chunk) == 12 + length and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if critical or (whole and name in CHUNKS):
            yield chunk
        at += 12 + length


def _segments(content: bytes) -> Iterator[bytes]:
    """The segments of a JPEG before its pixels, those for applications and comments left out; then all that follows."""
    at = 2
    while content[at + 1] != 0xDA:  # start of scan
        if content[at] != 0xFF:
            raise ValueError("no segment")
        if content[at + 1] == 0xFF:  # padding
            at += 1
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        marker = content[at + 1]
        if marker in SEGMENTS or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield content[at : at + 2 + length]
        at += 2 + length
    yield content[at:]
