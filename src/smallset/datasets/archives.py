"""Unpack the dogs-vs-cats archive into class folders.

Three layouts: PetImages/Cat/0.jpg (Microsoft), train/cat.0.jpg (Kaggle's train.zip), a zip with train.zip (Kaggle).
"""

import errno
import io
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from smallset.pipeline import progress
from smallset.pipeline.errors import SmallsetError

# Class and number, as a folder and a name (Cat/0.jpg) or as one name (cat.0.jpg).
PHOTO = re.compile(r"(?:^|/)(cat|dog)[./](\d+)\.jpe?g$", re.IGNORECASE)
MAX_RATIO = 20  # of the size of the unpacked files to that of the zip
LAYOUTS = "PetImages/Cat/0.jpg, train/cat.0.jpg, or a train.zip that contains them"
DISTRUST = "Do not trust it; get another copy."


def unpack(source: Path, target: Path) -> None:
    """Copy each photo in a zip or a folder to `target`/<class>/<class>.<number>.jpg.

    The names in `target` consist of class and number only, so an archive cannot write anywhere else. SmallsetError when
    it is missing, broken, hostile, or has another layout.
    """
    if (source / "train.zip").is_file():
        source = source / "train.zip"
    if source.is_dir():
        root, paths = source.resolve(), [path for path in sorted(source.rglob("*")) if path.is_file()]
        _copy({os.path.relpath(path.resolve(), root): partial(path.open, "rb") for path in paths}, target, source)
    elif source.is_file():
        with source.open("rb") as file:
            _unpack_zip(file, target, source)
    else:
        raise SmallsetError(
            f"{source}: no such file or folder. Set SMALLSET_ARCHIVE to the zip, or to a folder with its contents."
        )


def _unpack_zip(file: IO[bytes], target: Path, source: Path) -> None:
    """Copy from a zip, or from the train.zip in it."""
    size = file.seek(0, io.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
            if claimed > MAX_RATIO * size:
                problem = f"would unpack to {claimed:,} bytes, more than {MAX_RATIO} times its {size:,}"
                raise SmallsetError(f"{source}: {problem}, and photos hardly shrink in a zip. {DISTRUST}")  # noqa: TRY301
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            inner = next((name for name in names if PurePosixPath(name).name == "train.zip"), None)
            if inner is None or source.name == "train.zip":  # a zip in a zip in a zip is not opened
                _copy({name: partial(archive.open, name) for name in names}, target, source)
                return
            with tempfile.TemporaryFile(dir=target.parent) as copy, archive.open(inner) as packed:
                shutil.copyfileobj(packed, copy)
                _unpack_zip(copy, target, source / inner)
    except Exception as error:  # zipfile raises many types for broken bytes
        disk = isinstance(error, OSError) and error.errno != errno.EINVAL  # EINVAL: a position before byte 0
        if disk or isinstance(error, SmallsetError):
            raise
        raise SmallsetError(f"{source}: not a complete zip file ({error}). Delete it and get it again.") from None


def _copy(entries: Mapping[str, Callable[[], Any]], target: Path, source: Path) -> None:
    for name in entries:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise SmallsetError(f"{source}: entry {name!r} points outside the archive. {DISTRUST}")
    photos = {name: match for name in entries if (match := PHOTO.search(name))}
    if not photos:
        examples = ", ".join([*entries][:3]) or "nothing"
        raise SmallsetError(f"{source}: no photo of cats or dogs. Expected {LAYOUTS}; found {examples}.")
    for name, match in progress.bar(photos.items(), what=f"reading {source.name}", unit=" photos"):
        label, number = match[1].lower(), match[2]
        copy = target / label / f"{label}.{number}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.exists():
            raise SmallsetError(f"{source}: entry {name!r} is a second {label} {number}. Keep one folder of photos.")
        with entries[name]() as packed, copy.open("xb") as file:
            shutil.copyfileobj(packed, file)
