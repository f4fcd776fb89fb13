"""How the user's own photos say their classes, splits and groups: class folders, folders of splits, or a table."""

import csv
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd
from natsort import natsorted

from smallset.pipeline.errors import SmallsetError

INDEX = "photos.csv"  # beside the class folders, where splits or groups are known
COLUMNS = ("file", "label", "split", "group")
LEFTOVERS = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # macOS and Windows put them beside photos, unseen
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


def read(folder: Path, table: Path | None) -> pd.DataFrame:
    """One row of strings a photo: source (below `folder`), file (its place: <class>/<name>), label, split, group.

    Split and group are columns only where they are known; group is empty for a photo that has none.
    Raises SmallsetError for what is not clear, and for a group in two splits.
    """
    if table is not None:
        where, found = table, from_table(folder, table)
    elif has_split_folders(folder):
        where, found = folder, from_split_folders(folder)
    else:
        where, found = folder, from_class_folders(folder)
    found["label"] = [unicodedata.normalize("NFC", label) for label in found["label"]]  # macOS spells é and 가 apart
    check_labels(where, found, folder)
    if "split" in found:
        check_splits(where, found)
    found.insert(1, "file", places(found))
    return found


def has_split_folders(folder: Path) -> bool:
    """True where train/, validation/ or test/ holds folders; a train/ that holds photos is a class of vehicles."""
    return any(path.name.lower() in SPLITS and folders(path) for path in folders(folder))


def from_class_folders(folder: Path) -> pd.DataFrame:
    """<class>/<photo>, and photos in folders below a class folder, in numeric order."""
    rows = [(file.relative_to(folder).as_posix(), path.name) for path in folders(folder) for file in photos_below(path)]
    return pd.DataFrame(rows, columns=["source", "label"], dtype=str)


def from_split_folders(folder: Path) -> pd.DataFrame:
    """<split>/<class>/<photo>."""
    names = {path.name: SPLITS.get(path.name.lower(), "") for path in folders(folder)}
    if sorted(names.values()) != ["test", "train", "validation"]:
        raise SmallsetError(
            f"{folder}: expected the folders train, validation (or val, valid) and test, and no other; "
            f"found {', '.join(names)}. Add or rename them, or make it one folder a class and set subset.by: fraction."
        )
    parts = []
    for name, split in names.items():
        if not folders(folder / name):
            raise SmallsetError(f"{folder / name}: expected class folders, found none. Sort its photos into them.")
        part = from_class_folders(folder / name)
        parts.append(part.assign(source=f"{name}/" + part["source"], split=split))
    return pd.concat(parts, ignore_index=True)


def from_table(folder: Path, table: Path) -> pd.DataFrame:
    """A CSV with the columns file (below `folder`), label, and where they are known split and group."""
    lines: dict[str, int] = {}
    rows = []
    for line, row in table_rows(table):
        where = f"{table}: line {line}"
        row["file"] = source_below(folder, row["file"], where)
        if row["file"] in lines:
            raise SmallsetError(
                f"{where}: {row['file']} is in line {lines[row['file']]} already. Take one of the two away."
            )
        lines[row["file"]] = line
        if "split" in row and row["split"].lower() not in SPLITS:
            raise SmallsetError(
                f"{where}: split: expected train, validation (or val, valid) or test, found {row['split']!r}."
            )
        rows.append(row | ({"split": SPLITS[row["split"].lower()]} if "split" in row else {}))
    if not rows:
        raise SmallsetError(f"{table}: expected a line for each photo, found none.")
    return pd.DataFrame(rows, dtype=str).rename(columns={"file": "source"})


def table_rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of each line and its cells by column; SmallsetError for a file that is no such table."""
    if not table.is_file():
        raise SmallsetError(f"{table}: no such table. download.table names a CSV file.")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:  # Excel marks UTF-8 by three bytes
            reader = csv.DictReader(file, restval="", strict=True)
            check_columns(table, [name.strip() for name in reader.fieldnames or []])
            for row in reader:
                if None in row:
                    raise SmallsetError(
                        f"{table}: line {reader.line_num}: more cells than columns. Put a name with a comma in quotes."
                    )
                yield reader.line_num, {name.strip(): cell.strip() for name, cell in row.items()}
    except UnicodeDecodeError:
        raise SmallsetError(f"{table}: expected UTF-8 text. Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise SmallsetError(f"{table}: not a CSV: {error}.") from None


def check_columns(table: Path, columns: list[str]) -> None:
    """Exactly file and label, split and group if there: a misspelt group would let its photos cross splits."""
    missing, unknown = {"file", "label"} - set(columns), set(columns) - set(COLUMNS)
    if missing or unknown or len(set(columns)) < len(columns):
        raise SmallsetError(
            f"{table}: expected the columns file, label, and if known split, group, with commas between; "
            f"found {', '.join(columns) or 'nothing'}. Add, rename or take away columns."
        )


def source_below(folder: Path, file: str, where: str) -> str:
    """The path of a photo below `folder`, if it is one and stays there."""
    path = Path(file)
    if not path.parts or path.anchor or any(part.startswith(".") for part in path.parts):
        raise SmallsetError(
            f"{where}: file: expected the path of a photo below {folder}, as cat/1.jpg, no part of it beginning with a "
            f"dot; found {file!r}."
        )
    if not (folder / path).is_file():
        raise SmallsetError(f"{where}: file: {folder / path} is missing. Correct the line, or take it away.")
    return path.as_posix()


def check_labels(where: Path, found: pd.DataFrame, folder: Path) -> None:
    """Two classes or more, each usable as the name of a folder wherever the pipeline runs; photos below `folder`."""
    first = found.drop_duplicates("label")
    for label, source in zip(first["label"], first["source"], strict=True):
        if not re.fullmatch(r"[^./\\\0-\x1f][^/\\\0-\x1f]*", label) or label == INDEX:
            raise SmallsetError(
                f"{where}: {source}: label: expected a name fit for a folder, without a slash or a leading dot; "
                f"found {label!r}."
            )
    labels = sorted(first["label"])
    if len({label.casefold() for label in labels}) < len(labels):
        raise SmallsetError(f"{where}: two classes differ only in case: {', '.join(labels)}. Write them alike.")
    if len(labels) < 2:
        cure = inner_folders(folder) if where == folder else "Add photos of another."
        raise SmallsetError(f"{where}: expected two classes or more, found {', '.join(labels) or 'none'}. {cure}")


def inner_folders(folder: Path) -> str:
    """What to do with a folder that has no two class folders: they may lie deeper, as in an unpacked zip."""
    inner = folder
    while len(below := folders(inner)) == 1:
        inner = below[0]
    if below and inner != folder:
        return f"Name {inner}, if its folders ({names(below)}) are the classes."
    return "Sort the photos into one folder for each class, or list their labels in a table."


def names(paths: Sequence[Path], most: int = 4) -> str:
    """The first names, and dots for those that are left out."""
    return ", ".join([*(path.name for path in paths[:most]), *["…"] * (len(paths) > most)])


def check_splits(where: Path, found: pd.DataFrame) -> None:
    """Every class in every split; no group in two."""
    for label, splits in found.groupby("label")["split"]:
        if lacking := sorted({*SPLITS.values()} - {*splits}):
            raise SmallsetError(
                f"{where}: no photo of {label} in {', '.join(lacking)}. Add some there, or name no splits and set "
                f"subset.by: fraction."
            )
    for group, splits in found.groupby("group")["split"] if "group" in found else ():
        if group and len(set(splits)) > 1:
            raise SmallsetError(
                f"{where}: group {group!r} crosses splits: it is in {', '.join(sorted(set(splits)))}. Give all its "
                f"photos one split, or take the column split away and set subset.by: fraction."
            )


def places(found: pd.DataFrame) -> list[str]:
    """<class>/<name> for each photo; where a class has a name twice, the folders come before it: train-1.jpg.

    Upper and lower case count as one, as they do on macOS and Windows. A number tells apart what is still alike.
    """
    # A name from an old zip may not be UTF-8; its copy's is.
    paths = [PurePosixPath(os.fsencode(source).decode("utf-8", "replace")) for source in found["source"]]
    names = Counter((label, path.name.casefold()) for label, path in zip(found["label"], paths, strict=True))
    taken: set[str] = set()
    result = []
    for label, path in zip(found["label"], paths, strict=True):
        alone = names[label, path.name.casefold()] == 1
        name = path.name if alone else "-".join(part for part in path.parts if part != label)
        place, number = f"{label}/{name}", 1
        while place.casefold() in taken:
            number += 1
            place = f"{label}/{PurePosixPath(name).stem}-{number}{path.suffix}"
        taken.add(place.casefold())
        result.append(place)
    return result


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not hidden(path.name))


def photos_below(folder: Path) -> list[Path]:
    """All files below a class folder in numeric order, hidden ones left out. Whether they decode shows in `subset`."""
    paths = files_below(folder)
    if not paths:
        raise SmallsetError(f"{folder}: no photo there. Add photos of that class, or take its folder away.")
    return natsorted(paths, key=str)


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and in its folders, hidden ones left out."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if not any(map(hidden, path.relative_to(folder).parts))]


def hidden(name: str) -> bool:
    """True for what a file manager does not show."""
    return name.startswith(".") or name in LEFTOVERS
