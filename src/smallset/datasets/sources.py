"""Fill data/raw with class folders of photos from the source that params.yaml names."""

import errno
import hashlib
from pathlib import Path
from typing import Any

from smallset.datasets import archives, digits, downloads, folders, names, scan, synthetic
from smallset.pipeline import files, params, progress, text
from smallset.pipeline.errors import SmallsetError

TABLE = "photos.csv"  # beside the class folders: labels, splits and groups, if the source has them
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # of the disk that photos are copied to


def fill(target: Path, p: params.Download, seed: int) -> dict[str, Any]:
    """Write the photos to `target`/<class>/; return the record for metrics/download.json.

    Its sha256 is the archive's; without an archive it is computed from the names and the bytes of all photos.
    """
    archive = None
    if p.source == "synthetic":
        synthetic.draw(target, p.synthetic.photos_per_class, p.synthetic.image_size, seed)
    elif p.source == "folder":
        print(text.lines("\n".join(_copy_folder(p, target))))
    elif p.source == "mnist":
        archive = digits.write(target, target / TABLE)
    else:
        archive = downloads.locate(p.mirrors, "SMALLSET_ARCHIVE", "dogs-vs-cats.zip")
        archives.unpack(archive, target)
    classes = {folder.name: scan.scan(folder).all_photos() for folder in sorted(target.iterdir()) if folder.is_dir()}
    if archive and archive.is_file():
        digest = files.sha256(archive)
    else:
        names_of = (f"{label}/{photo}" for label, photos in classes.items() for photo in photos)
        lines = "".join(f"{file}\0{files.sha256(target / file)}\n" for file in names_of)
        digest = hashlib.sha256(lines.encode()).hexdigest()
    photos = {label: len(photos) for label, photos in classes.items()}
    return {"source": p.source, "archive": archive.name if archive else None, "sha256": digest, "photos": photos}


def _copy_folder(p: params.Download, target: Path) -> list[str]:
    """Copy the user's photos to class folders, and write TABLE; return notes. The originals are only read."""
    folder = Path(p.folder).expanduser() if p.folder else None
    where = "params.yaml: download: folder"
    if folder is None or not folder.is_dir():
        raise SmallsetError(f"{where}: expected a folder of photos, found {p.folder!r}.")
    if target.resolve().is_relative_to(folder.resolve()):
        problem = f"expected a folder with photos only, but {p.folder!r} contains this pipeline"
        raise SmallsetError(f"{where}: {problem}. Move the photos to a folder of their own.")
    dataset, notes = folders.read_folder(folder, Path(p.table).expanduser() if p.table else None)
    rows = dataset.table[["file", "label", "split", "group"]]
    inside = rows["file"].str.partition("/")[0] == rows["label"]
    places = rows["file"].where(inside, rows["label"] + "/" + rows["file"])
    if len({*map(names.normalize, places)}) < len(places):  # cat/1.jpg, and 1.jpg which a table calls cat
        places = rows["label"] + "/" + rows["file"]
    failed: dict[str, str] = {}
    for path, place in progress.bar(zip(dataset.paths, places, strict=True), total=len(places), what="copying"):
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        try:
            files.copy(path, target / place)
        except OSError as error:
            if error.errno in DISK_ERRORS:
                raise
            failed[place] = f"cannot be read: {scan.os_reason(error)}"
            (target / place).unlink(missing_ok=True)
    columns = ["file", "label", *[name for name in ("split", "group") if (rows[name] != "").any()]]
    files.write_csv(target / TABLE, rows.assign(file=places).loc[~places.isin(failed), columns])
    return [f"Copied {len(rows) - len(failed):,} photos.", *notes, *scan.describe_unreadable(failed)]
