"""Photos from the source that params.yaml names, in class folders, and a record of what was read."""

import errno
import hashlib
from pathlib import Path

import pandas as pd

from smallset.datasets import archives, digits, folders, lists, names, scan, synthetic
from smallset.pipeline import files, params, progress, text
from smallset.pipeline.errors import SmallsetError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # errors of the disk that is copied to


def fill(target: Path, downloads: Path, p: params.Download, seed: int) -> dict[str, object]:
    """Fill `target`/<class>/ from the source in params.yaml; return what metrics/download.json records.

    downloads: a folder that keeps a mirror's archive, whole or in part, so that a broken download is resumed.
    The sha256 is the archive's, or where there is none that of all photos.
    """
    archive = None
    if p.source == "sample" and p.sample:
        synthetic.draw(target, p.sample.photos, p.sample.side, seed)
    elif p.source == "folder":
        print(*map(text.lines, copy_folder(p.folder, p.table, target)), sep="\n")
    elif p.source == "mnist":
        archive = digits.fill(target)
    else:
        archive = downloads.local_archive() or downloads.from_mirrors(p.mirrors, downloads)
        archives.unpack(archive, target)
    found = lists.find(target)
    return {
        "source": "sample: drawn by smallset, not photographed" if p.source == "sample" else p.source,
        "archive": archive.name if archive else None,
        "sha256": files.sha256(archive) if archive and archive.is_file() else digest(found),
        "photos": {name: int((found.labels == label).sum()) for label, name in enumerate(found.classes)},
    }


def digest(found: lists.Photos) -> str:
    """sha256 over each photo's name and bytes, in order: equal whichever archive they came in."""
    total = hashlib.sha256()
    for file, path in zip(found.files, found.paths(), strict=True):
        total.update(f"{file}\0{files.sha256(Path(path))}\n".encode())
    return total.hexdigest()


def copy_folder(name: str | None, table: str | None, target: Path) -> list[str]:
    """Copy the user's photos to class folders, and list in photos.csv what is known of splits and groups.

    The originals are only read. Returns, in sentences, what was decided and what was left out.
    """
    folder = Path(name).expanduser() if name else None
    if folder is None or not folder.is_dir():
        raise SmallsetError(f"params.yaml: download: folder: expected a folder of photos, found {name!r}.")
    if target.resolve().is_relative_to(folder.resolve()):
        raise SmallsetError(
            f"params.yaml: download: folder: expected a folder of photos alone, found {name!r}, which holds this "
            f"pipeline's data. Move the photos to a folder of their own."
        )
    own, words = folders.read(folder, Path(table).expanduser() if table else None)
    failed = copy(folder, own, target)
    photos = len(own) - len(failed)
    return [f"Copied {photos} photos of {own['label'].nunique()} classes.", *words, *scan.not_read(failed)]


def copy(folder: Path, own: pd.DataFrame, target: Path) -> dict[str, str]:
    """Copy the photos of `folders.read`, with photos.csv; return those that broke off in reading, and why.

    One bad block of a disk stops no other photo.
    """
    failed: dict[str, str] = {}
    rows = zip(progress.bar(own["source"], what="copying", unit=" photos"), own["file"], strict=True)
    for source, file in rows:
        (target / file).parent.mkdir(exist_ok=True)
        try:
            files.copy(folder / source, target / file)
        except OSError as error:
            if error.errno in FULL:
                raise
            failed[source] = f"cannot be read: {scan.reason(error)}"
            (target / file).unlink(missing_ok=True)
    if {"split", "group"} & set(own):
        copied = own[~own["source"].isin(failed)]
        files.write_csv(target / names.INDEX, copied.drop(columns="source"))
    return failed
