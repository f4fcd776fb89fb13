"""A photo without its metadata: broken ones can keep Pillow from pixels that are whole."""

import struct
import zlib
from collections.abc import Iterator

TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}  # of a PNG; Pillow refuses more than 1 MB of one
KEPT = {0xE0, 0xEE}  # of the segments of a JPEG for applications: JFIF's and Adobe's say what its colours are


def without(content: bytes, kind: str) -> bytes:
    """The bytes of a JPEG or PNG without what is no pixel; struct.error or ValueError for what has not their form."""
    if kind == "PNG":
        return content[:8] + b"".join(_chunks(content))
    if kind == "JPEG":
        return content[:2] + b"".join(_segments(content))
    raise ValueError(f"{kind} stays as it is")


def _chunks(content: bytes) -> Iterator[bytes]:
    """The chunks of a PNG with its pixels, and others that are whole and no text."""
    at = 8
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + 12 + length]
        critical = not name[0] & 0x20  # by the case of its first letter
        whole = len(chunk) == 12 + length and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if critical or (whole and name not in TEXTS):
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
        if marker in KEPT or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield content[at : at + 2 + length]
        at += 2 + length
    yield content[at:]
