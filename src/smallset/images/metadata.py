"""Broken metadata, with which Pillow refuses to decode intact pixels or does not find their orientation."""

import struct
import zlib
from collections.abc import Iterator

ORIENTATION = 274  # tag of Exif
CHUNKS = {b"tRNS", b"eXIf"}  # chunks of a PNG that are kept: transparency and orientation
SEGMENTS = {0xE0, 0xEE}  # application segments of a JPEG that are kept: JFIF's and Adobe's define its colors


def find_orientation(exif: bytes) -> int | None:
    """Exif's number for the orientation, read without its other tags; None if there is none."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = ">" if tiff[:2] == b"MM" else "<"
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        tags = (struct.unpack_from(f"{order}H6xH", tiff, start + 2 + 12 * number) for number in range(count))
        return next((value for tag, value in tags if tag == ORIENTATION), None)
    except struct.error:
        return None


def remove(content: bytes, kind: str) -> bytes:
    """A JPEG or PNG without its metadata; struct.error, LookupError or ValueError for broken or other files."""
    start, split = {"PNG": (8, _chunks), "JPEG": (2, _segments)}[kind]
    return content[:start] + b"".join(split(content, start))


def _chunks(content: bytes, at: int) -> Iterator[bytes]:
    """The critical chunks of a PNG, and the intact ones of CHUNKS."""
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + 12 + length]
        intact = len(chunk) == 12 + length and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if not name[0] & 0x20 or (intact and name in CHUNKS):  # critical chunks start with a capital
            yield chunk
        at += 12 + length


def _segments(content: bytes, at: int) -> Iterator[bytes]:
    """The segments of a JPEG, of application segments and comments only those of SEGMENTS; then its pixels."""
    while (marker := content[at + 1]) != 0xDA:  # start of scan
        if content[at] != 0xFF:
            raise ValueError("not a segment")
        if marker == 0xFF:  # padding
            at += 1
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker in SEGMENTS or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield content[at : at + 2 + length]
        at += 2 + length
    yield content[at:]
