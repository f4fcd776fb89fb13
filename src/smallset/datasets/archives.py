"""The dogs-vs-cats archive in its three layouts, read into class folders.

PetImages/Cat/0.jpg (Microsoft), train/cat.0.jpg (Kaggle's train.zip), and a zip that holds train.zip (Kaggle's whole).
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
from typing import IO

from smallset.pipeline import progress
from smallset.pipeline.errors import SmallsetError

# Class and number, as a folder and a name (Cat/0.jpg) or as one name (cat.0.jpg).
PHOTO = re.compile(r"(?:^|/)(cat|dog)[./](\d+)\.jpe?g$", re.IGNORECASE)
SWOLLEN = 20  # times the size of a zip, at most, that its files may have
LAYOUTS = "PetImages/Cat/0.jpg, train/cat.0.jpg, or a train.zip that holds them"


def unpack(source: Path, target: Path) -> None:
    """Copy every photo of a zip or a folder to `target`/<class>/<class>.<number>.jpg.

    Names in `target` are made from class and number alone, so nothing lands outside it, whatever the archive says.
    Raises SmallsetError for an archive that is missing, broken, hostile, or of another layout.
    """
    if (source / "train.zip").is_file():
        source = source / "train.zip"
    if source.is_dir():
        files = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
        for name, path in files.items():
            if PHOTO.search(name) and not path.resolve().is_relative_to(source.resolve()):
                raise _outside(source, name)
        _copy({name: _opener(path) for name, path in files.items()}, target, source)
    elif source.is_file():
        with _opened(source, source) as archive:
            _copy_zip(archive, source.stat().st_size, target, source)
    else:
        raise SmallsetError(f"{source}: no such file or folder. SMALLSET_ARCHIVE names the archive's zip or folder.")


# What zipfile raises for bytes that are not as they should be.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, ValueError, OverflowError, LookupError, OSError),
)


@contextmanager
def _opened(file: Path | IO[bytes], name: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; whatever is wrong with its bytes is one error."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # of the disk; EINVAL: a place before its start
            raise
        raise SmallsetError(f"{name}: not a whole, readable zip file ({error}). Delete it and get it again.") from None


def _outside(source: Path, name: str) -> SmallsetError:
    return SmallsetError(f"{source}: entry {name!r} points outside the archive. Do not trust it; get another copy.")


def _copy_zip(archive: zipfile.ZipFile, size: int, target: Path, source: Path) -> None:
    """Copy from a zip of so many bytes, or from the train.zip in it."""
    claimed = sum(info.file_size for info in archive.infolist())
    if claimed > SWOLLEN * size:
        raise SmallsetError(
            f"{source}: would unpack to {claimed:,} bytes, of {size:,}: photos hardly shrink in a zip, and no more "
            f"than {SWOLLEN} times its size is unpacked. Do not trust it; get another copy."
        )
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise _outside(source, name)
    inner = next((name for name in names if PurePosixPath(name).name == "train.zip"), None)
    if inner is None or source.name == "train.zip":  # one zip inside a zip, no more
        _copy({name: partial(archive.open, name) for name in names}, target, source)
        return
    with tempfile.TemporaryFile(dir=target.parent) as copy, archive.open(inner) as packed:
        shutil.copyfileobj(packed, copy)
        with _opened(copy, source / inner) as train:
            _copy_zip(train, archive.getinfo(inner).file_size, target, source / inner)


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _copy(entries: Mapping[str, Callable[[], IO[bytes]]], target: Path, source: Path) -> None:
    """Copy the entries that are photos; `source` is for the error."""
    photos = {name: match for name in entries if (match := PHOTO.search(name))}
    if not photos:
        found = ", ".join(list(entries)[:3]) or "nothing"
        raise SmallsetError(f"{source}: no photo of cats or dogs. Expected {LAYOUTS}; found {found}.")
    for name, match in progress.bar(photos.items(), what=f"reading {source.name}", unit=" photos"):
        label, number = match[1].lower(), match[2]
        copy = target / label / f"{label}.{number}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.exists():
            raise SmallsetError(
                f"{source}: entry {name!r} is a second {label} {number}. Keep one folder of photos there."
            )
        with entries[name]() as packed, copy.open("xb") as file:
            shutil.copyfileobj(packed, file)
