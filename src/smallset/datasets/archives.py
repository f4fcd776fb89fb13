"""Unpack the dogs-vs-cats archive into class folders.

Three layouts: PetImages/Cat/0.jpg (Microsoft), train/cat.0.jpg (Kaggle's train.zip), a zip with train.zip (Kaggle).
"""

import errno
import lzma
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from smallset.pipeline import progress
from smallset.pipeline.errors import SmallsetError

# Class and number, as a folder and a name (Cat/0.jpg) or as one name (cat.0.jpg).
PHOTO = re.compile(r"(?:^|/)(cat|dog)[./](\d+)\.jpe?g$", re.IGNORECASE)
MAX_RATIO = 20  # of the size of the unpacked files to that of the zip
LAYOUTS = "PetImages/Cat/0.jpg, train/cat.0.jpg, or a train.zip that contains them"
BROKEN = (  # what zipfile raises for broken bytes
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, ValueError, OverflowError, LookupError, OSError),
)
DISTRUST = "Do not trust it; get another copy."


def unpack(source: Path, target: Path) -> None:
    """Copy each photo in a zip or a folder to `target`/<class>/<class>.<number>.jpg.

    The names in `target` consist of class and number only, so an archive cannot write anywhere else.

    Raises:
        SmallsetError: The archive is missing, broken, hostile, or has another layout.
    """
    if (source / "train.zip").is_file():
        source = source / "train.zip"
    if source.is_dir():
        paths = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
        for name, path in paths.items():
            if PHOTO.search(name) and not path.resolve().is_relative_to(source.resolve()):
                raise SmallsetError(f"{source}: entry {name!r} points outside the archive. {DISTRUST}")
        _copy({name: partial(path.open, "rb") for name, path in paths.items()}, target, source)
    elif source.is_file():
        with _open_zip(source, source) as archive:
            _copy_zip(archive, source.stat().st_size, target, source)
    else:
        raise SmallsetError(f"{source}: no such file or folder. SMALLSET_ARCHIVE names the archive's zip or folder.")


@contextmanager
def _open_zip(file: Path | IO[bytes], name: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of the disk; EINVAL: a position before byte 0
            raise
        raise SmallsetError(f"{name}: not a complete zip file ({error}). Delete it and get it again.") from None


def _copy_zip(archive: zipfile.ZipFile, size: int, target: Path, source: Path) -> None:
    """Copy from a zip of `size` bytes, or from the train.zip in it."""
    claimed = sum(entry.file_size for entry in archive.infolist())
    if claimed > MAX_RATIO * size:
        raise SmallsetError(
            f"{source}: would unpack to {claimed:,} bytes, more than {MAX_RATIO} times its {size:,}, although photos "
            f"hardly shrink in a zip. {DISTRUST}"
        )
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise SmallsetError(f"{source}: entry {name!r} points outside the archive. {DISTRUST}")
    inner = next((name for name in names if PurePosixPath(name).name == "train.zip"), None)
    if inner is None or source.name == "train.zip":  # a zip in a zip in a zip is not opened
        _copy({name: partial(archive.open, name) for name in names}, target, source)
        return
    with tempfile.TemporaryFile(dir=target.parent) as copy, archive.open(inner) as packed:
        shutil.copyfileobj(packed, copy)
        with _open_zip(copy, source / inner) as train:
            _copy_zip(train, archive.getinfo(inner).file_size, target, source / inner)


def _copy(entries: Mapping[str, Callable[[], Any]], target: Path, source: Path) -> None:
    photos = {name: match for name in entries if (match := PHOTO.search(name))}
    if not photos:
        examples = ", ".join([*entries][:3]) or "nothing"
        raise SmallsetError(f"{source}: no photo of cats or dogs. Expected {LAYOUTS}; found {examples}.")
    for name, match in progress.bar(photos.items(), what=f"reading {source.name}", unit=" photos"):
        label, number = match[1].lower(), match[2]
        copy = target / label / f"{label}.{number}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.exists():
            raise SmallsetError(
                f"{source}: entry {name!r} is a second {label} {number}. Keep only one folder of photos."
            )
        with entries[name]() as packed, copy.open("xb") as file:
            shutil.copyfileobj(packed, file)
