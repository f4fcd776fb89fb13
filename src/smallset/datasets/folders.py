"""Read a folder of photos as a Dataset: the labels, and if there are any the splits and the groups.

They come from class folders, inside or around folders of splits, at any depth; from the names of the files; or from a
table. Every decision that could have been different is reported in a sentence.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import pandas as pd

from smallset.datasets import groups, names, scan, tables
from smallset.datasets.dataset import COLUMNS, SPLITS, Dataset
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import visible

# The name of a split's folder, as train, train_data, seg_train, Training set, test1.
SPLIT = re.compile(
    r"(?<![a-z])(train|training|val|valid|validation|dev|test|testing)(?:set|data)?[\s_.-]*\d*(?![a-z])", re.IGNORECASE
)
DRAWN = 5  # one in so many training photos is drawn for a missing split
NUMBERED = re.compile(r"^(.*?[^\W\d_].*?)[\s._-]*\(?\d+\)?$")  # cat.0, cat_001, cat (1), cat12: the class is cat
# What cameras and phones call photos, without the numbers. These are not classes.
CAMERA = {
    *("dsc", "dscf", "dscn", "frame", "gopr", "image", "img", "imge", "mvimg", "p", "photo", "pic", "picture", "pxl"),
    *("sam", "scan", "screenshot", "signal", "whatsappimageat"),
}
RECORDING = re.compile(r"recording[\s_-]*\d+", re.IGNORECASE)  # a folder in a class folder, which is a group
NAMED = 9  # in a sentence

Labelled = tuple[pd.DataFrame, list[str]]  # file, label, perhaps split and group; and notes


def read_folder(
    folder: Path | scan.Scan,
    table: Path | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
    skip_missing: bool = False,
) -> tuple[Dataset, list[str]]:
    """Read a folder of photos, and the table with their labels unless folders or names contain them.

    columns, skip_missing: See `tables.read`.

    Return the dataset with `folder` as its root, sorted by label and then in natural order, not measured yet; and
    notes: how the folder was understood, how to change it, and what is left out. SmallsetError for unclear labels.
    """
    photos = scan.scan(folder) if isinstance(folder, Path) else folder
    left_out = photos.describe()
    if not photos.photos:
        reasons = " ".join([f"{photos.folder}: expected photos, found none.", *left_out])
        raise SmallsetError(f"{reasons} Name another one.")
    rows, notes = tables.read(table, photos, columns, skip_missing) if table else _from_folders(photos)
    labels = [unicodedata.normalize("NFC", label) for label in rows["label"]]  # macOS writes é in two characters
    rows["label"] = pd.Series(labels, rows.index, dtype=object)
    _check_labels(table or photos.folder, rows)
    unnamed = rows["file"].map(lambda file: bool(re.search("[\ud800-\udfff]", file)))  # bytes that are not UTF-8
    if unnamed.any():
        examples = scan.some([*rows["file"][unnamed]])
        left_out.insert(0, f"Left out, because their names are not UTF-8: {unnamed.sum():,} photos ({examples}).")
    if table is None and photos.empty:
        left_out.insert(0, f"Folders without a photo: {scan.some(photos.empty, NAMED)}.")
    rows, drawn = _complete_splits(rows[~unnamed].reindex(columns=[*COLUMNS], fill_value="").astype(object))
    rows, versions = groups.group_versions(rows)
    rows = rows.set_index("file", drop=False).loc[scan.natural_order([*rows["file"]])]
    rows = rows.sort_values("label", kind="stable", ignore_index=True)
    return Dataset(rows, tuple(sorted({*rows["label"]})), photos.folder), [*notes, *versions, *drawn, *left_out]


def _from_folders(photos: scan.Scan) -> Labelled:
    """Split folders with class folders in them, class folders with split folders in them, or class folders alone."""
    paths, depth = photos.photos, _find_depth(photos.photos)
    first, second = (sorted({_folder(path, level) for path in paths} - {""}) for level in (depth, depth + 1))
    if splits := _find_splits(first):
        rows, notes = _from_split_folders(photos, depth, splits)
    elif len(first) > 1 and {_folder(path, depth + 1) for path in paths} <= {*(splits := _find_splits(second))}:
        rows = _label(paths, depth).assign(split=[splits[_folder(path, depth + 1)] for path in paths])
        notes = [f"Splits: by the folders {scan.some(second)} in the class folders. Rename them to change this."]
    else:
        rows, notes = _find_labels(photos, paths, depth)
    if depth:
        shared = visible("/".join(paths[0].split("/")[:depth]))
        notes.insert(0, f"The folder of photos is {shared}/, which contains all of them.")
    return rows, notes


def _find_depth(paths: Sequence[str], start: int = 0, classes: Collection[str] = ()) -> int:
    """The number of folders around all paths, up to one that is a class; those before `start` never are."""
    shared = os.path.commonprefix([path.split("/")[:-1] for path in paths])  # noqa: RUF071 - of lists
    return next((depth for depth in range(start, len(shared)) if shared[depth] in classes), len(shared))


def _folder(path: str, level: int) -> str:
    """The folder in a path at a level; "" if there is none."""
    folders = path.split("/")[:-1]
    return folders[level] if level < len(folders) else ""


def _sort_by_folder(paths: Sequence[str], level: int) -> dict[str, list[str]]:
    """The paths in each folder at a level; "" for those in no folder."""
    folders = defaultdict[str, list[str]](list)
    for path in paths:
        folders[_folder(path, level)].append(path)
    return folders


def _label(paths: Sequence[str], depth: int) -> pd.DataFrame:
    """The photos with the names of their folders at a level as labels."""
    return pd.DataFrame({"file": [*paths], "label": [_folder(path, depth) for path in paths]}, dtype=object)


def _find_splits(folders: Sequence[str]) -> dict[str, str]:
    """The split of each folder that has the name of one, if there are train and another one, named alike.

    So seg_train and seg_test are splits; train station and test tube are not.
    """
    matches = {name: match for name in folders if (match := SPLIT.search(name))}
    rests = {name: (name[: match.start()] + name[match.end() :]).lower() for name, match in matches.items()}
    common = Counter(rests.values()).most_common(1)
    splits = {name: tables.SPLITS[matches[name][1].lower()] for name in rests if rests[name] == common[0][0]}
    return splits if "train" in splits.values() and len({*splits.values()}) > 1 else {}


def _from_split_folders(photos: scan.Scan, depth: int, splits: Mapping[str, str]) -> Labelled:
    """<split>/<class>/<photo>. Other folders, and splits without classes except train, are left out."""
    for split, count in Counter(splits.values()).items():
        if count > 1:
            several = scan.some([name for name in splits if splits[name] == split])
            raise SmallsetError(f"{photos.folder}: the folders {several} are all for {split}. Merge them.")
    notes = [f"Splits: by the folders {scan.some([*splits])}. Rename them to change this."]
    folders, classes = _sort_by_folder(photos.photos, depth), set[str]()
    parts = {}
    for name, paths in sorted(folders.items(), key=lambda item: (splits.get(item[0]) != "train", item[0])):
        left_out = f"Left out: {len(paths):,} photos in {visible(name) or 'no folder'}, which "
        if name not in splits:
            notes.append(f"{left_out}is not a split.")
            continue
        try:
            rows, more = _find_labels(photos, paths, _find_depth(paths, depth + 1, classes), classes)
        except SmallsetError:
            if splits[name] == "train":
                raise
            notes.append(f"{left_out}has no classes.")
            continue
        notes += more
        parts[name] = rows.assign(split=splits[name])
        classes |= {*rows["label"]}
    return pd.concat([parts[name] for name in sorted(parts)], ignore_index=True), notes


def _find_labels(photos: scan.Scan, paths: Sequence[str], depth: int, classes: Collection[str] = ()) -> Labelled:
    """Labels by class folders, by a table near the photos, or by their names.

    A single folder is a class folder only if it has the name of one of `classes`.
    """
    folders = {_folder(path, depth) for path in paths} - {""}
    if len(folders) > 1 or folders & {*classes}:
        return _from_class_folders(paths, depth)
    prefix = "".join(f"{name}/" for name in paths[0].split("/")[:depth])
    labelled = _from_table_nearby(photos, paths, prefix) or _from_names(paths)
    if labelled is None:
        raise _explain_missing_labels(photos, prefix)
    return labelled


def _from_class_folders(paths: Sequence[str], depth: int) -> Labelled:
    """<class>/<photo>, or photos in folders inside of the class folder."""
    rows, notes = _label(paths, depth), []
    inner = {label: {*_sort_by_folder(inside, depth + 1)} for label, inside in _sort_by_folder(paths, depth).items()}
    if recordings := sorted({name for names in inner.values() for name in names if RECORDING.fullmatch(name)}):
        inside = rows["file"].map(lambda path: _folder(path, depth + 1)).isin(recordings)
        rows["group"] = rows["file"].str.split("/").str[: depth + 2].str.join("/").where(inside, "")
        notes.append(f"Groups: by the folders {scan.some(recordings)} in class folders. Rename them to change this.")
    if loose := [path for path in paths if not _folder(path, depth)]:
        notes.append(f"Left out, because they are in no class folder: {len(loose):,} photos ({scan.some(loose)}).")
    others = {label: names - {*recordings} for label, names in inner.items()}
    if deeper := [label for label in sorted(others) if label and len(others[label]) > 1 and "" not in others[label]]:
        fix = "If the inner folders are the classes, name the folder that contains them as the folder of photos."
        note = f"Folders inside of class folders: {scan.some(deeper)}. All photos in them count as that class."
        notes.append(f"{note} {fix}")
    return rows[rows["label"] != ""].reset_index(drop=True), notes


def _from_table_nearby(photos: scan.Scan, paths: Sequence[str], prefix: str) -> Labelled | None:
    """The labels of a table in the photos' folder or above it, as Roboflow's _classes.csv, if exactly one fits."""
    others = [path for path in [*photos.unreadable, *photos.others] if path.startswith(prefix)]
    below, fitting = scan.Scan(photos.folder, [*paths], dict.fromkeys(others, "")), []
    for table in _tables_around(photos, prefix):
        with suppress(SmallsetError):
            rows, notes = tables.read(photos.folder / table, below)
            fitting.append((rows, [f"Classes: by the table {visible(table)}. Name another to change this.", *notes]))
    return fitting[0] if len(fitting) == 1 else None


def _tables_around(photos: scan.Scan, prefix: str) -> list[str]:
    """Tables in a folder and in the folders around it, except Kaggle's sample submissions with invented labels."""
    around = {"", *scan.parents(prefix)}
    listed = [path for path in photos.others if PurePosixPath(path).suffix.lower() in tables.SUFFIXES]
    return [path for path in listed if path.rpartition("/")[0] in around and "submission" not in path.lower()]


def _from_names(paths: Sequence[str]) -> Labelled | None:
    """The classes in file names that end with a number, if several photos share each and no camera chose it."""
    matches = [NUMBERED.match(PurePosixPath(path).stem) for path in paths]
    labels = [match[1].strip(" ._-(") for match in matches if match]
    words = {re.sub(r"[\W\d_]+", "", label).lower() for label in labels}
    if len(labels) < len(paths) or not 1 < len({*labels}) <= len(paths) / 2 or words & CAMERA:
        return None
    example = f"{visible(PurePosixPath(paths[0]).name)} is {visible(labels[0])}"
    note = f"Classes: by the names of the files ({example}). Use class folders or a table to change this."
    return pd.DataFrame({"file": [*paths], "label": labels}, dtype=object), [note]


def _explain_missing_labels(photos: scan.Scan, prefix: str) -> SmallsetError:
    """The error for photos without labels. It says how to label them, or which folder to name instead of theirs."""
    folder = (photos.folder / prefix).absolute()
    fix = "Sort the photos into one folder per class, or list their labels in a table."
    if around := _tables_around(photos, prefix):
        fix += f" If {scan.some(around)} is such a table, name it with --table."
    beside = sorted(path.name for path in folder.parent.glob("*/") if not scan.is_hidden(path.name))
    if not prefix and len(beside) > 1:
        fix += f" If the classes are {scan.some(beside)}, name the folder {folder.parent}."
    classes = visible(folder.name) if prefix else "none"
    empty = [f"These folders have no photo: {scan.some(photos.empty)}."] * bool(photos.empty)
    message = f"{photos.folder}: expected at least two classes, found {classes}. {fix}"
    return SmallsetError(" ".join([message, *empty, *photos.describe()]))


def _complete_splits(rows: pd.DataFrame) -> Labelled:
    """If one split is missing, draw it from the training photos by their names; if two are, forget the splits."""
    present = {*rows["split"]} - {""}
    missing = [split for split in SPLITS if split not in present]
    if len(present) == 1:
        return rows.assign(split=""), [f"All photos with classes are for {present.pop()}, so all splits are drawn."]
    if not present or not missing or "train" in missing:
        return rows, []
    train = rows[rows["split"] == "train"]
    units = train["file"].where(train["group"] == "", train["group"])
    units = units.map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    drawn = set[str]()
    for _, of_class in units.groupby(train["label"]):  # the first units, in order, that have one in DRAWN of its photos
        counts = of_class.value_counts().sort_index()
        drawn |= {*counts.index[counts.cumsum() - counts < max(len(of_class) > 1, len(of_class) // DRAWN)]}
    rows.loc[units.index[units.isin(drawn)], "split"] = missing[0]
    note = f"Nothing is for {missing[0]}, so one in {DRAWN} of the training photos of each class is drawn for it."
    return rows, [f"{note} Add a folder or lines for {missing[0]} to change this."]


def _check_labels(where: Path, rows: pd.DataFrame) -> None:
    first = rows.drop_duplicates("label")
    pairs = zip(first["label"], first["file"], strict=True)
    if wrong := [f"'{visible(label)}' ({visible(file)})" for label, file in pairs if not names.is_usable_label(label)]:
        expected = "expected names that can be folders: UTF-8, without a slash or a leading dot, and short"
        raise SmallsetError(f"{where}: label: {expected}; found {scan.some(wrong, NAMED)}. Rename them.")
    counts = Counter(map(names.normalize, first["label"]))
    if alike := [label for label in sorted(first["label"]) if counts[names.normalize(label)] > 1]:
        raise SmallsetError(f"{where}: some classes differ only in case: {scan.some(alike, NAMED)}. Rename them.")
    if len(first) < 2:
        raise SmallsetError(
            f"{where}: expected at least two classes, found {', '.join(first['label'])}. Add another class."
        )
