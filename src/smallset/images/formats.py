"""What a photo is: a file whose first bytes are those of a format that photos have, whatever its name says."""

import os
import re
import stat
from pathlib import Path

HEAD = 64  # bytes, in which every format shows

# Pillow's name of each format, and how its files begin. Formats that run programs (EPS), draw (WMF) or hold data (FITS)
# are not among them.
STARTS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # then the size of one of its headers
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "WEBP": rb"RIFF.{4}WEBP",
    "JPEG2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "PPM": rb"P[1-6]\s+(#|\d+\s)",
    "AVIF": rb".{4}ftyp(avif|avis|(mif1|msf1).{4,40}avif)",
    "HEIF": rb".{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)",
}
PATTERNS = {name: re.compile(start, re.DOTALL) for name, start in STARTS.items()}

NAMED = re.compile(
    r"\.(jpe?g|jfif|jpe|png|gif|bmp|dib|tiff?|webp|jp2|j2k|jpx|p[bgnp]m|avif|hei[cf]|hif)$", re.IGNORECASE
)
RAW = re.compile(
    r"\.(3fr|ari|arw|bay|cr[23w]|dcr|dng|erf|fff|iiq|k25|kdc|mef|mos|mrw|ne[fw]|orf|pef|raf|raw|rw[2l]|sr[2fw]|x3f)$",
    re.IGNORECASE,
)
NO_RAW = "a RAW file, of which no more than a small preview can be read: develop it to a JPEG"

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def of(head: bytes) -> str | None:
    """Pillow's name of the format in which a file begins with these bytes; None for what is no photo."""
    return next((name for name, pattern in PATTERNS.items() if pattern.match(head)), None)


def head(path: str | Path) -> bytes:
    """The first bytes of a file. OSError, with its reason in words, for what is not a file: it is never opened."""
    kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - a path may be text with odd bytes
    if kind in KINDS:
        raise OSError(f"{KINDS[kind]}, which is never opened")
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(HEAD)


def no_photo(start: bytes) -> str:
    """What is wrong with a file that begins so, although it has a photo's name."""
    begins = f"it begins with {start[:12]!r}, as no format of photos does" if start else "it is empty"
    return f"does not decode as a photo: {begins}"
