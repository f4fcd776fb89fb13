"""Labels in a table, as people write it or a labelling tool exports it: CSV of any separator, JSON, JSON lines.

Two columns are read, under any of their usual names, and where they are known the split and the group. As well: a
column of 0 and 1 for each class (Roboflow, ISIC); tasks (Label Studio); images, annotations and categories (COCO);
attributes (VIA); and lines without a header.
"""

import csv
import difflib
import io
import json
import re
import unicodedata
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from smallset.datasets import scan
from smallset.images import formats
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import visible

SUFFIXES = {".csv", ".tsv", ".json", ".jsonl", ".ndjson"}
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# What each column is called, the surest name first; in lower case, with _ for blanks and -.
NAMES = {
    "file": (
        *("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_name", "img"),
        *("imagename", "img_path", "image_url", "photo", "picture", "url", "uri", "image_id", "name", "id"),
    ),
    "label": (
        *("label", "labels", "class", "class_name", "classname", "category", "choice", "choices", "target", "tag"),
        *("tags", "class_label", "label_name", "species", "breed", "diagnosis", "file_attributes"),
    ),
    "split": ("split",),
    "group": ("group", "group_id", "patient", "patient_id", "subject", "subject_id"),
}
TRUTHS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an upload
SEVERAL = "\0several"  # the label of a photo that has more than one
LISTED = 100  # lines that an error names

Roles = Mapping[str, Sequence[str]]  # of file, label, split, group: the columns, of the label perhaps one a class


def read(table: Path, found: scan.Walk) -> tuple[pd.DataFrame, list[str]]:
    """A row for each photo that has a label: source, label and, where known, split and group; and what was decided.

    SmallsetError names all lines at once that are not clear.
    """
    cells = contents(table)
    roles, words = _roles(table, cells)
    rows = pd.DataFrame({role: cells[names[0]] for role, names in roles.items()}, dtype=object)
    rows["label"] = [_label(roles["label"], row) for row in cells.to_dict("records")]
    if unlabelled := int((rows["label"] == "").sum()):
        words.append(f"{table.name}: {unlabelled} of {len(rows)} lines have no label and are left out.")
    rows = rows[rows["label"] != ""]
    _refuse(table, "more than one label", rows["file"][rows["label"] == SEVERAL], "Keep one, or take the line away.")
    if "split" in rows:
        rows["split"] = _splits(table, rows)
    rows = _matched(table, rows, found)
    rows = rows[rows["source"].isin({*found.photos})]  # what is broken is said of the folder
    if rows.empty:
        raise SmallsetError(f"{table}: expected a line for each photo, found none with a photo and a label.")
    listed = {*rows["source"]}
    if spare := [path for path in found.photos if path not in listed]:
        words.append(f"Not in {table.name}, and left out: {len(spare)} photos ({scan.some(spare)}).")
    columns = [name for name in ("source", "label", "split", "group") if name in rows]
    return rows[columns].reset_index(drop=True), words


def contents(table: Path) -> pd.DataFrame:
    """The cells of the file as text, whatever its form; the index has their lines, or in JSON their numbers."""
    if not table.is_file():
        raise SmallsetError(f"{table}: no such table. download.table names a CSV or JSON file.")
    content = table.read_bytes()
    try:  # Excel marks UTF-8 by three bytes, its "Unicode text" by two
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        return _from_json(text) if text.lstrip()[:1] in ("[", "{") else _from_csv(table, text)
    except UnicodeDecodeError:
        raise SmallsetError(f"{table}: expected UTF-8 text. Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise SmallsetError(f"{table}: not a CSV: {error}.") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise SmallsetError(f"{table}: not a list of photos and labels: {error!r}. Export it as CSV.") from None


def _from_csv(table: Path, text: str) -> pd.DataFrame:
    """Cells between commas, semicolons, tabs or bars, whichever the first line has most of."""
    first = re.sub('"[^"]*"', "", text.lstrip().partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=first.count), strict=True)
    lines = {reader.line_num: [*map(str.strip, line)] for line in reader if any(map(str.strip, line))}  # noqa: B035
    width = max(map(len, lines.values()), default=0)
    columns = next(iter(lines.values()), [])
    if any(map(formats.NAMED.search, columns)):  # no header: a photo already
        columns = [f"column {number}" for number in range(1, width + 1)]
    else:
        lines = dict([*lines.items()][1:])
    if long := [line for line, cells in lines.items() if len(cells) > len(columns)]:
        raise SmallsetError(
            f"{table}: line {', '.join(map(str, long[:LISTED]))}: more cells than columns. "
            f"Put a name with a comma in quotes."
        )
    if len({*columns}) < len(columns):
        raise _unclear(table, columns)
    rows = [cells + [""] * (len(columns) - len(cells)) for cells in lines.values()]
    return pd.DataFrame(rows, index=[*lines], columns=columns, dtype=object)


def _from_json(text: str) -> pd.DataFrame:
    """Records or tasks in brackets or one a line; COCO's three lists; or an object of file names and labels."""
    try:
        content = json.loads(text)
    except ValueError:
        content = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(content, dict):
        coco = {"images", "annotations", "categories"} <= set(content)
        content = _from_coco(content) if coco else [{"file": file, "label": of} for file, of in content.items()]
    records = [_from_task(one) if "annotations" in one else one for one in content]
    columns = list(dict.fromkeys(key for record in records for key in record))
    rows = [[_plain(record.get(key)) for key in columns] for record in records]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1), columns=columns, dtype=object)


def _from_coco(content: Mapping[str, Any]) -> list[dict[str, object]]:
    """Each image with the categories of its annotations."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    labels: dict[object, set[str]] = {}
    for annotation in content["annotations"]:
        labels.setdefault(annotation["image_id"], set()).add(names[annotation["category_id"]])
    return [{"file": image["file_name"], "label": sorted(labels.get(image["id"], ()))} for image in content["images"]]


def _from_task(task: Mapping[str, Any]) -> dict[str, object]:
    """A task of Label Studio: its data, and what all who labelled it chose."""
    results = [
        result["value"] for one in task["annotations"] if not one.get("was_cancelled") for result in one["result"]
    ]
    return {**task["data"], "choice": sorted({choice for value in results for choice in value.get("choices", [])})}


def _plain(value: object) -> str:
    """A value of JSON as text: of a list with one item, or an object with one value, that one."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        return _plain(value[0]) if len(value) == 1 else SEVERAL if value else ""
    return "" if value is None else str(value).strip()


def _roles(table: Path, cells: pd.DataFrame) -> tuple[dict[str, list[str]], list[str]]:
    """The columns of each role, and in words what was decided; by their names, and where those do not tell by cells."""
    roles = {role: [name] for role in NAMES if (name := _called(role, cells.columns))}

    def rest() -> list[str]:
        return [name for name in cells.columns if [name] not in roles.values()]

    def holds(name: str, fits: Iterable[str]) -> bool:
        return len(cells) > 0 and {*cells[name].str.lower()} <= {*fits}

    photos = [name for name in rest() if cells[name].map(lambda cell: bool(formats.NAMED.search(cell))).any()]
    if "file" not in roles and photos:
        roles["file"] = photos[:1]
    if "split" not in roles and (splits := [name for name in rest() if holds(name, SPLITS)]):
        roles["split"] = splits[:1]
    others = rest()
    if "label" not in roles and len(others) > 1 and all(holds(name, TRUTHS) for name in others):
        roles["label"], others = others, []
    for role in ("file", "label"):
        if role not in roles and len(others) == 1:
            roles[role] = [others.pop()]
    if {"file", "label"} - set(roles):
        raise _unclear(table, cells.columns)
    return roles, _decided(table, roles, others)


def _called(role: str, columns: Iterable[str]) -> str | None:
    """The column that has one of the role's names."""
    by_name = {re.sub(r"[\s-]+", "_", column.lower()): column for column in columns}
    return next((by_name[name] for name in NAMES[role] if name in by_name), None)


def _unclear(table: Path, columns: Iterable[str]) -> SmallsetError:
    return SmallsetError(
        f"{table}: expected the columns file, label, and if known split, group; "
        f"found {', '.join(columns) or 'nothing'}. Add, rename or take away columns."
    )


def _decided(table: Path, roles: Roles, others: Sequence[str]) -> list[str]:
    """What the columns were taken for, where their names do not say it. A misspelt group would cross splits."""
    for name in others:
        if meant := difflib.get_close_matches(name.lower(), ("split", "group"), 1, 0.8):
            raise SmallsetError(f"{table}: unknown column {name!r}. Did you mean {meant[0]!r}? Rename it.")
    parts = [f"{role} from {scan.some(names, 9)}" for role, names in roles.items() if names != [role]]
    parts += [f"not used: {scan.some(others, 9)}"] * bool(others)
    return [f"{table.name}: {'; '.join(parts)}. Rename columns to decide otherwise."] if parts else []


def _label(columns: Sequence[str], cells: Mapping[Hashable, str]) -> str:
    """The label in a row: a cell, perhaps in brackets, as [cat] or {"class": "cat"}; or the column that is 1."""
    if len(columns) > 1:
        return _plain([name for name in columns if TRUTHS[cells[name].lower()]])
    cell = cells[columns[0]]
    if cell[:1] not in ("[", "{"):
        return cell
    try:
        return _plain(json.loads(cell))
    except ValueError:
        return _plain([part.strip(" '\"") for part in cell.strip("[]{}").split(",") if part.strip()])


def _splits(table: Path, rows: pd.DataFrame) -> pd.Series:
    """The split of each row by its plain name."""
    known = rows["split"].str.lower().map(SPLITS)
    wrong = rows["split"][known.isna()]
    found = scan.some(sorted({repr(value) for value in wrong}), 9)
    _refuse(table, f"split: expected train, validation (or val, valid) or test, found {found}", wrong, "Correct it.")
    return known


def _matched(table: Path, rows: pd.DataFrame, found: scan.Walk) -> pd.DataFrame:
    """The rows with their photo as `source`, each photo once; SmallsetError for what is missing or contradicts."""
    meant = pd.Series(_meant([*rows["file"]], [*found.photos, *found.broken, *found.others]), rows.index, dtype=object)
    example = f" There is {scan.some(found.photos, 1)}." if found.photos else ""
    missing = rows["file"][meant.map(len) == 0]
    _refuse(table, f"file: missing below {found.folder}", missing, f"Correct the line, or take it away.{example}")
    _refuse(table, "file: several photos", rows["file"][meant.map(len) > 1], "Write their folder before the name.")
    rows = rows.assign(source=[path for (path,) in meant], line=rows.index)
    first = rows.drop_duplicates("source").set_index("source")
    other = rows[rows["label"].to_numpy() != first["label"].reindex(rows["source"]).to_numpy()]
    if len(other):
        pairs = zip(other["line"], other["source"], first["line"].reindex(other["source"]), strict=True)
        lines = [f"line {line}: {visible(path)} is in line {before} already" for line, path, before in pairs]
        raise SmallsetError(f"{table}: {_listed(lines)}, with another label. Take one of the two away.")
    return rows.drop_duplicates("source").drop(columns="line")


def _refuse(table: Path, fault: str, at_fault: pd.Series, cure: str) -> None:
    """An error that names all the lines at fault, if there are any."""
    if len(at_fault):
        lines = [f"line {line}: {visible(cell)!r}" for line, cell in at_fault.items()]
        raise SmallsetError(f"{table}: {fault}: {_listed(lines)}. {cure}")


def _listed(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - LISTED} more lines"] if len(lines) > LISTED else []
    return "; ".join([*lines[:LISTED], *more])


def _meant(cells: Sequence[str], paths: Sequence[str]) -> list[list[str]]:
    """The paths that each cell may mean: one, if all is well.

    A table is often made where the photos lay elsewhere: as many of the folders with which all its paths begin are
    dropped as lets most of them be found, and what remains may lie in folders that the table does not name.
    """
    endings: dict[str, list[str]] = {}
    for path in paths:
        for spelling in {_spelled(path), formats.NAMED.sub("", _spelled(path))}:
            parts = spelling.split("/")
            for at in range(len(parts)):
                endings.setdefault("/".join(parts[at:]), []).append(path)
    written = [_parts(cell) for cell in cells]
    options = [[_found(endings, parts[cut:]) for parts in written] for cut in range(_shared(written) + 1)]
    return max(options, key=lambda found: sum(map(bool, found)))  # the first of equals


def _found(endings: Mapping[str, list[str]], parts: Sequence[str]) -> list[str]:
    """The paths that end so; of several those that are no longer, and then those that are spelled the same."""
    *folders, name = parts or [""]
    path, upload = "/".join(parts), "/".join([*folders, UPLOADED.sub("", name)])
    found = endings.get(_spelled(path)) or endings.get(_spelled(upload)) or []
    for fits in (
        lambda one: one.count("/") == len(folders),
        lambda one: unicodedata.normalize("NFC", one).endswith(path),
    ):
        found = [*filter(fits, found)] or found
    return found


def _shared(written: Sequence[list[str]]) -> int:
    """How many folders all begin with."""
    first, last = min(written, default=[]), max(written, default=[])
    pairs = zip(first[:-1], last[:-1], strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), max(0, min(len(first), len(last)) - 1))


def _parts(cell: str) -> list[str]:
    """The folders and the name in a path of any system or an address."""
    path = unquote(cell.rpartition("?d=")[2]).replace("\\", "/")
    path = re.sub(r"^[a-z][a-z0-9+]*://|^[a-z]:/", "", path, flags=re.IGNORECASE)
    return [unicodedata.normalize("NFC", part) for part in path.split("/") if part not in ("", ".", "..")]


def _spelled(path: str) -> str:
    """A path without what not every system tells apart: macOS writes é in two parts, Windows takes A for a."""
    return unicodedata.normalize("NFC", path).casefold()
