"""The formats of photos: what matters is how the file's bytes start, not its name."""

import os
import re
import stat
from pathlib import Path

HEAD = 64  # bytes, which are enough to identify every format

# Pillow's name of each format, and how its files start. Left out are formats that run programs (EPS), draw (WMF) or
# contain data (FITS).
STARTS = {
    "JPEG": rb"\xff\xd8\xff(?!\xf7)",
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

# Formats that are not read -> how their files start.
FOREIGN = {
    "a JPEG-LS": rb"\xff\xd8\xff\xf7",
    "a JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "a JPEG XR": rb"II\xbc",
    "a Photoshop document": rb"8BPS",
    "an OpenEXR picture": rb"v/1\x01",
    "a Radiance picture": rb"#\?(RADIANCE|RGBE)",
    "a portable float map": rb"P[Ff]\s",
    "a portable arbitrary map": rb"P7\s",
    "a QOI picture": rb"qoif",
    "an icon": rb"\0\0[\1\2]\0",
    "an SVG drawing": rb"\s*(<\?xml|<svg)",
    "a web page": rb"(?i)\s*<(!doctype html|html)",
    "a PDF document": rb"%PDF",
    "a video": rb".{4}ftyp(isom|iso\d|mp4\d|avc1|M4V |qt  |3gp\d)",
    "a RAW file": rb"FUJIFILMCCD-RAW|.{4}ftypcrx |II(RO|RS|U)",
}

NAMED = re.compile(
    r"\.(jpe?g|jfif|jpe|png|gif|bmp|dib|tiff?|webp|jp2|j2k|jpx|p[bgnp]m|avif|hei[cf]|hif)$", re.IGNORECASE
)
RAW = re.compile(
    r"\.(3fr|ari|arw|bay|cr[23w]|dcr|dng|erf|fff|iiq|k25|kdc|mef|mos|mrw|ne[fw]|orf|pef|raf|raw|rw[2l]|sr[2fw]|x3f)$",
    re.IGNORECASE,
)
NO_RAW = "a RAW file, in which only a small preview can be read: export it as a JPEG"


def identify(head: bytes) -> str | None:
    """Pillow's name of the format of a file that starts with these bytes; None when it is not a photo's."""
    return next((name for name, pattern in PATTERNS.items() if pattern.match(head)), None)


def head(path: str | Path) -> bytes:
    """The first bytes of a file; OSError for a folder, a pipe or a device, which is never opened."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a path may contain bytes that are not UTF-8
        raise OSError("not a regular file, so it is never opened")
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(HEAD)


def explain(head: bytes) -> str:
    """Why a file is not a photo although it has the name of one."""
    for name, pattern in FOREIGN.items():
        if re.match(pattern, head, re.DOTALL):
            return f"does not decode as a photo: it is {name}, which is not read: export it as a JPEG or PNG"
    start = f"it starts with {head[:12]!r}, unlike any format of photos" if head else "it is empty"
    return f"does not decode as a photo: {start}"
