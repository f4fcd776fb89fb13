"""Read the labels of photos from a table that a person wrote or a labelling tool exported.

CSV with any separator, JSON, or JSON lines, with a column for the file and one for the label under any of their usual
names, and columns for the split and the group if there are any. Other layouts: a column of 0 and 1 for each class
(Roboflow, ISIC), tasks (Label Studio), images with annotations and categories (COCO), attributes (VIA), no header.
"""

import csv
import difflib
import io
import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd

from smallset.datasets import groups, names, scan
from smallset.images import formats
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import visible

SUFFIXES = {".csv", ".tsv", ".json", ".jsonl", ".ndjson"}
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# The usual names of each column, the least ambiguous first, in lower case and with _ for blanks and -.
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
# Columns whose repeated values may be what photos share, as a person or a place.
GROUPED = re.compile(
    r"patient|subject|person|individual|animal|session|series|study|case|site|(^|[\s_-])id$", re.IGNORECASE
)
TRUE, FALSE = {"1", "1.0", "true"}, {"0", "0.0", "false"}
UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # Label Studio's prefix of an uploaded file
SEVERAL = "\0several"  # the label of a photo that has more than one
MAX_LISTED = 100  # lines in an error


def read(
    table: Path, photos: scan.Scan, columns: Mapping[str, str] = MappingProxyType({}), skip_missing: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """Read the labels of photos; a SmallsetError names all lines that are ambiguous or do not fit the photos.

    columns: The columns for file, label, split and group, where their names do not tell. skip_missing: Leave out lines
    whose file does not exist, with a note.

    Return a row for each photo that has a label, with the columns file (as in `photos`), label and, if the table has
    them, split and group; and notes about how the table was understood.
    """
    cells = _read_cells(table)
    roles, notes = _find_columns(table, cells, columns)
    rows = pd.DataFrame({role: cells[used[0]] for role, used in roles.items()}, dtype=object)
    rows["label"] = [_read_label(roles["label"], row) for row in cells.to_dict("records")]
    if unlabelled := int((rows["label"] == "").sum()):
        notes.append(f"{table.name}: {unlabelled:,} of {len(rows):,} lines have no label and are left out.")
    rows = rows[rows["label"] != ""]
    _refuse(table, "more than one label", rows["file"][rows["label"] == SEVERAL], "Keep one, or remove the line.")
    if "split" in rows:
        splits = rows["split"].str.lower().map(SPLITS)
        expected = "split: expected train, validation (val, valid) or test"
        _refuse(table, expected, rows["split"][splits.isna()], "Correct the lines.")
        rows["split"] = splits
    rows, more = _match_photos(table, rows, photos, skip_missing)
    notes += more
    rows = rows[rows["file"].isin(photos.photos)]  # the scan explains the unreadable ones
    if rows.empty:
        raise SmallsetError(f"{table}: expected a line for each photo, found none with a photo and a label.")
    listed = {*rows["file"]}
    if unlisted := [path for path in photos.photos if path not in listed]:
        left_out = f"{len(unlisted):,} photos ({scan.some(unlisted)})"
        notes.append(f"Left out, because {table.name} does not list them: {left_out}.")
    return rows.reset_index(drop=True), notes


def _read_cells(table: Path) -> pd.DataFrame:
    """All cells as text; the index has the numbers of lines, or of records in JSON."""
    if not table.is_file():
        raise SmallsetError(f"{table}: there is no such table. Name a CSV or JSON file with the labels of the photos.")
    content = table.read_bytes()
    utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # Excel's "Unicode text"
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
        return _from_json(text) if text.lstrip()[:1] in ("[", "{") else _from_csv(table, text)
    except (csv.Error, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SmallsetError(f"{table}: not a list of photos and labels: {reason}. Export it as CSV in UTF-8.") from None


def _from_csv(table: Path, text: str) -> pd.DataFrame:
    first = re.sub('"[^"]*"', "", text.lstrip().partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=first.count), strict=True)
    lines = {reader.line_num: [*map(str.strip, line)] for line in reader if any(map(str.strip, line))}  # noqa: B035
    header, columns = next(iter(lines.items()), (0, []))
    if any(map(formats.NAMED.search, columns)):  # no header: the first line names a photo
        columns = [f"column {number}" for number in range(1, max(map(len, lines.values())) + 1)]
    else:
        lines.pop(header, None)
    if len({*columns}) < len(columns):
        raise _unclear_columns(table, columns)
    long = {line: ",".join(cells) for line, cells in lines.items() if len(cells) > len(columns)}
    fix = "Put a name that contains a comma in quotes."
    _refuse(table, "more cells than columns", pd.Series(long, dtype=object), fix)
    rows = [cells + [""] * (len(columns) - len(cells)) for cells in lines.values()]
    return pd.DataFrame(rows, index=[*lines], columns=columns, dtype=object)


def _from_json(text: str) -> pd.DataFrame:
    """A list of records or tasks, records one per line, COCO's three lists, or an object {file: label}."""
    try:
        content = json.loads(text)
    except ValueError:
        content = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(content, dict):
        coco = {"images", "annotations", "categories"} <= content.keys()
        content = _from_coco(content) if coco else [{"file": file, "label": label} for file, label in content.items()]
    records = [_from_task(record) if "annotations" in record else record for record in content]
    columns = list(dict.fromkeys(key for record in records for key in record))
    rows = [[_to_text(record.get(key)) for key in columns] for record in records]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1), columns=columns, dtype=object)


def _from_coco(content: Mapping[str, Any]) -> list[dict[str, object]]:
    categories = {category["id"]: category["name"] for category in content["categories"]}
    labels = defaultdict[object, set[str]](set)
    for annotation in content["annotations"]:
        labels[annotation["image_id"]].add(categories[annotation["category_id"]])
    return [{"file": image["file_name"], "label": [*labels[image["id"]]]} for image in content["images"]]


def _from_task(task: Mapping[str, Any]) -> dict[str, object]:
    """The data of Label Studio's task, and what all its annotators chose."""
    results = [part for entry in task["annotations"] if not entry.get("was_cancelled") for part in entry["result"]]
    labels = {label for result in results for label in result["value"].get("choices", [])}
    return {**task["data"], "choice": [*labels]}


def _to_text(value: object) -> str:
    """A value of JSON; the only item of a list or an object stands for it."""
    if isinstance(value, dict | list):
        items = [*value.values()] if isinstance(value, dict) else value
        return _to_text(items[0]) if len(items) == 1 else SEVERAL if items else ""
    return "" if value is None else str(value).strip()


def _find_columns(table: Path, cells: pd.DataFrame, named: Mapping[str, str]) -> tuple[dict[str, list[str]], list[str]]:
    """The columns of each role, as named or else by their usual names or else by their cells; and notes."""
    if missing := [f"{role}: {name}" for role, name in named.items() if name not in cells]:
        raise SmallsetError(f"{table}: expected a column for {', '.join(missing)}; found {', '.join(cells.columns)}.")
    by_name = {re.sub(r"[\s-]+", "_", name.lower()): name for name in cells.columns if name not in named.values()}
    columns = {role: [by_name[name] for name in aliases if name in by_name][:1] for role, aliases in NAMES.items()}
    columns |= {role: [name] for role, name in named.items()}
    others = [name for name in cells.columns if [name] not in columns.values()]
    contents = {name: {*cells[name].str.lower()} for name in others}
    photos = [name for name in others if any(map(formats.NAMED.search, contents[name]))]
    splits = [name for name in others if contents[name] and contents[name] <= {*SPLITS}]
    for role, candidates in (("file", photos), ("split", splits)):
        columns[role] = columns[role] or candidates[:1]
    others = [name for name in others if [name] not in columns.values()]
    if not columns["label"] and len(others) > 1 and all(set() < contents[name] <= TRUE | FALSE for name in others):
        columns["label"], others = others, []
    for role in ("file", "label"):
        if not columns[role] and len(others) == 1:
            columns[role], others = others, []
    if not columns["file"] or not columns["label"]:
        raise _unclear_columns(table, cells.columns, columns, _find_likely(cells[others]))
    columns = {role: used for role, used in columns.items() if used}
    return columns, _describe_columns(table, columns, cells[others], len({*cells[columns["label"][0]]}))


def _find_likely(cells: pd.DataFrame) -> dict[str, list[str]]:
    """Columns that may be the label, because their values repeat, or the group, also because of their names."""
    counts = cells.replace("", np.nan).agg(["count", "nunique"]).T
    repeated = counts[(counts["nunique"] > 1) & (2 * counts["nunique"] <= counts["count"])].sort_values("nunique")
    grouped = counts[(counts["nunique"] > 1) & (counts["nunique"] < counts["count"])].index
    groups = [name for name in grouped if GROUPED.search(name)]
    return {"label": [name for name in repeated.index if name not in groups], "group": groups}


def _describe_columns(table: Path, columns: Mapping[str, list[str]], cells: pd.DataFrame, classes: int) -> list[str]:
    others = [*cells.columns]
    for name in others:  # without a misspelled group, its photos would be in several splits
        if meant := difflib.get_close_matches(name.lower(), ("split", "group"), 1, 0.8):
            raise SmallsetError(f"{table}: unknown column {name!r}. Did you mean {meant[0]!r}? Rename it.")
    parts = [f"{role} from {scan.some(used, 9)}" for role, used in columns.items() if used != [role]]
    parts += [f"not used: {scan.some(others, 9)}"] * bool(others)
    notes = [f"{table.name}: {'; '.join(parts)}. To change this, name columns: --label NAME."] if parts else []
    for name in _find_likely(cells)["group"] if "group" not in columns else []:
        if (count := cells[name].nunique()) > classes:  # not a number of the class
            repeat = f"the column {visible(name)} has {count:,} values for {len(cells):,} lines"
            notes.append(
                f"{table.name}: {repeat}. If photos with the same value belong together, as those of a patient, keep "
                f"them in one split: smallset init --group {visible(name)}"
            )
    return notes


def _unclear_columns(
    table: Path,
    names: Iterable[str],
    columns: Mapping[str, list[str]] = MappingProxyType({}),
    likely: Mapping[str, list[str]] = MappingProxyType({}),
) -> SmallsetError:
    expected = "expected the columns file, label and optionally split, group"
    recognized = "".join(f" {role.capitalize()} is {used[0]}." for role, used in columns.items() if used)
    options = [f"--{role} {' or '.join(used[:3])}" for role, used in likely.items() if used and not columns[role]]
    fix = f"Likely: {', '.join(options)}." if options else "Name them with --file and --label, or rename columns."
    return SmallsetError(f"{table}: {expected}; found {', '.join(names) or 'nothing'}.{recognized} {fix}")


def _read_label(columns: Sequence[str], cells: Mapping[Any, str]) -> str:
    """A cell, perhaps in brackets, as [cat] or {"class": "cat"}; or the name of the column that is 1."""
    if len(columns) > 1:
        return _to_text([name for name in columns if cells[name].lower() in TRUE])
    cell = cells[columns[0]]
    if cell[:1] not in ("[", "{"):
        return cell
    try:
        return _to_text(json.loads(cell))
    except ValueError:
        return _to_text([part.strip(" '\"") for part in cell.strip("[]{}").split(",") if part.strip()])


def _match_photos(
    table: Path, rows: pd.DataFrame, photos: scan.Scan, skip_missing: bool
) -> tuple[pd.DataFrame, list[str]]:
    """The rows with the path of their photo as `file`, each photo once; and notes."""
    notes = []
    paths = _find_paths([*rows["file"]], [*photos.photos, *photos.unreadable, *photos.others])
    counts = pd.Series([len(options) for options in paths], rows.index, dtype=int)
    missing, there = rows["file"][counts == 0], scan.some(photos.photos, 1)
    if skip_missing and len(missing):
        examples = scan.some([*missing])
        notes.append(f"{table.name}: {len(missing):,} lines are left out, because their files are missing: {examples}.")
        paths, rows, counts = [path for path in paths if path], rows[counts > 0], counts[counts > 0]
    else:
        fix = f"Correct or remove the lines, or leave them out: smallset init --skip-missing. There is {there}."
        _refuse(table, f"file: missing in {photos.folder}", missing, fix)
    _refuse(table, "file: several photos", rows["file"][counts > 1], "Write the folder before the name.")
    rows = rows.assign(file=[path for (path,) in paths])
    differ = rows.groupby("file")["label"].transform("nunique") > 1
    _refuse(table, "different labels of a photo", rows["file"][differ], "Keep one line.")
    if "group" in rows:
        merged, parts = groups.merge(rows["file"], rows["group"])
        rows = rows.assign(group=merged.to_numpy())
        notes += groups.describe_merged(parts, f"{table.name} lists a photo in both")
    return rows.drop_duplicates("file"), notes


def _refuse(table: Path, fault: str, cells: pd.Series, fix: str) -> None:
    """Raise an error that names all lines at fault, if there are any."""
    if len(cells):
        lines = [f"line {line}: '{visible(cell)}'" for line, cell in cells.iloc[:MAX_LISTED].items()]
        lines += [f"and {len(cells) - MAX_LISTED:,} more lines"] * (len(cells) > MAX_LISTED)
        raise SmallsetError(f"{table}: {fault}: {'; '.join(lines)}. {fix}")


def _find_paths(cells: Sequence[str], paths: Sequence[str]) -> list[list[str]]:
    """The paths that each cell may mean; exactly one if all is well.

    Tables are often made where the photos were in another folder. So of the folders that all cells start with, as many
    are dropped as lets most photos be found; and the photos may be in folders that the table does not name.
    """
    if {*cells} <= {*paths}:
        return [[cell] for cell in cells]
    by_ending = defaultdict[str, list[str]](list)
    for path in paths:
        for spelling in {names.normalize(path), formats.NAMED.sub("", names.normalize(path))}:
            parts = spelling.split("/")
            for start in range(len(parts)):
                by_ending["/".join(parts[start:])].append(path)
    written = [_split_path(cell) for cell in cells]
    shared = len(os.path.commonprefix([parts[:-1] for parts in written]))  # noqa: RUF071 - of lists
    options = [[_find_path(by_ending, parts[drop:]) for parts in written] for drop in range(shared + 1)]
    return max(options, key=lambda option: sum(map(bool, option)))  # the first of equals


def _find_path(by_ending: Mapping[str, list[str]], parts: Sequence[str]) -> list[str]:
    """The paths with this ending; of several those with no more folders, and then those with the same spelling."""
    *folders, name = parts or [""]
    path, upload = "/".join(parts), "/".join([*folders, UPLOAD.sub("", name)])
    result = by_ending.get(names.normalize(path)) or by_ending.get(names.normalize(upload)) or []
    result = [option for option in result if option.count("/") == len(folders)] or result
    return [option for option in result if unicodedata.normalize("NFC", option).endswith(path)] or result


def _split_path(cell: str) -> list[str]:
    """The folders and the name in a path of any system or in a URL."""
    path = unquote(cell.rpartition("?d=")[2]).replace("\\", "/")
    path = re.sub(r"^[a-z][a-z0-9+]*://|^[a-z]:/", "", path, flags=re.IGNORECASE)
    return [unicodedata.normalize("NFC", part) for part in path.split("/") if part not in ("", ".", "..")]
