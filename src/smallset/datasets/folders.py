"""How the user's own photos say their classes, splits and groups, and what was decided where they may say two things.

Class folders, in folders of splits or around them, however deep; the class in the files' names; or a table.
"""

import hashlib
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from smallset.datasets import names, scan, tables
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import visible

SPLITS = ("train", "validation", "test")
# A split's folder: its name, perhaps with what is said of it (train_data, seg_train, Training set, test1).
SPLIT = re.compile(
    r"(?<![a-z])(train|training|val|valid|validation|dev|test|testing)(?:set|data)?[\s_.-]*\d*(?![a-z])", re.IGNORECASE
)
DRAWN = 5  # of so many training photos one is drawn for a split that there is not
NUMBERED = re.compile(r"^(.*?[^\W\d_].*?)[\s._-]*\(?\d+\)?$")  # cat.0, cat_001, cat (1), cat12; the class is cat
# What cameras and phones call photos, without the numbers: no class.
CAMERA = {
    *("dsc", "dscf", "dscn", "frame", "gopr", "image", "img", "imge", "mvimg", "p", "photo", "pic", "picture", "pxl"),
    *("sam", "scan", "screenshot", "signal", "whatsappimageat"),
}

Labelled = tuple[pd.DataFrame, list[str]]  # source, label, perhaps split and group; and what was decided, in sentences


def read(folder: Path, table: Path | None) -> Labelled:
    """One row of strings a photo: source (below `folder`), file (its place: <class>/<name>), label, split, group.

    Split and group are columns only where they are known; group is empty for a photo that has none. With it come the
    sentences that say what was decided, how to decide otherwise, and what was left out.
    Raises SmallsetError for what is not clear, and for a group in two splits.
    """
    found = scan.walk(folder)
    if not found.photos:
        raise found.none()
    own, words = tables.read(table, found) if table is not None else arranged(found)
    where = table or folder
    own["label"] = [unicodedata.normalize("NFC", label) for label in own["label"]]  # macOS spells é and 가 apart
    check_labels(where, own)
    if "split" in own:
        own, drawn = completed(own)
        words += drawn
    if "split" in own:
        check_splits(where, own)
    own.insert(1, "file", names.places(own))
    if table is None and found.bare:
        words.append(f"Folders without a photo: {scan.some(found.bare, 9)}.")
    return own, [*words, *found.said()]


def arranged(found: scan.Walk) -> Labelled:
    """What the folders say: splits with class folders in them, classes with splits in them, or classes alone."""
    top, paths = unwrapped(found.photos)
    tops, seconds = (sorted({part(path, level) for path in paths} - {""}) for level in (0, 1))
    if splits := split_folders(tops):
        own, words = from_splits(found, top, paths, splits)
    elif len(tops) > 1 and (splits := split_folders(seconds)) and all(part(path, 1) in splits for path in paths):
        own = frame(paths, lambda path: part(path, 0)).assign(split=[splits[part(path, 1)] for path in paths])
        words = [f"Splits: by the folders {scan.some(seconds)} in the class folders. Rename them to decide otherwise."]
    else:
        labelled, words = labels(found, top, paths)
        if labelled is None:
            raise unlabelled(found, top)
        own = labelled
    own["source"] = [f"{top}{path}" for path in own["source"]]
    if top:
        words.insert(0, f"Taken for the folder of photos: {visible(top)}, which holds all of them.")
    return own, words


def unwrapped(paths: Sequence[str], classes: Collection[str] = ()) -> tuple[str, list[str]]:
    """The folders that all paths share, up to one that is a class, with a / at the end; and the paths from there."""
    shared = os.path.commonpath([os.path.dirname(path) for path in paths]).split("/")  # noqa: PTH120 - of text
    top = "".join(f"{name}/" for name in itertools.takewhile(lambda name: name and name not in classes, shared))
    return top, [path.removeprefix(top) for path in paths]


def part(path: str, level: int) -> str:
    """The folder of a path at a level; "" for none."""
    folders = path.split("/")[:-1]
    return folders[level] if level < len(folders) else ""


def frame(paths: Sequence[str], label: Callable[[str], str]) -> pd.DataFrame:
    """Source and label."""
    return pd.DataFrame({"source": [*paths], "label": [label(path) for path in paths]}, dtype=object)


def split_folders(names: Sequence[str]) -> dict[str, str]:
    """The split of each name that is one's, if they are of train and another; the rest of their names is alike.

    So seg_train and seg_test are splits; train station and test tube are not.
    """
    matches = {name: match for name in names if (match := SPLIT.search(name))}
    rests = {name: (name[: match.start()] + name[match.end() :]).lower() for name, match in matches.items()}
    if not rests:
        return {}
    (rest, _), *_ = Counter(rests.values()).most_common(1)
    found = {name: tables.SPLITS[matches[name][1].lower()] for name in rests if rests[name] == rest}
    return found if "train" in found.values() and len({*found.values()}) > 1 else {}


def from_splits(found: scan.Walk, top: str, paths: Sequence[str], splits: Mapping[str, str]) -> Labelled:
    """<split>/<class>/<photo>. What is in no split, or has no classes there, is left out, but training photos not."""
    for split, count in Counter(splits.values()).items():
        if count > 1:
            twice = scan.some([name for name, of in splits.items() if of == split])
            raise SmallsetError(f"{found.folder}: the folders {twice} are all for {split}. Put their photos into one.")
    words = [f"Splits: by the folders {scan.some([*splits])}. Rename them to decide otherwise."]
    parts: dict[str, pd.DataFrame] = {}
    for name in sorted({part(path, 0) for path in paths}, key=lambda name: (splits.get(name) != "train", name)):
        classes = {label for part in parts.values() for label in part["label"]}  # training photos come first
        inside = [path.removeprefix(f"{name}/") for path in paths if part(path, 0) == name]
        inner, below = unwrapped(inside, classes)
        own, said = labels(found, f"{top}{name}/{inner}", below, classes) if name in splits else (None, [])
        if own is not None:
            words += said
            parts[name] = own.assign(source=f"{name}/{inner}" + own["source"], split=splits[name])
        elif splits.get(name) == "train":
            raise unlabelled(found, f"{top}{name}/{inner}")
        else:
            why = "has no classes" if name in splits else "is no split"
            words.append(f"Left out: {len(below)} photos of {visible(name) or 'no folder'}, which {why}.")
    return pd.concat([parts[name] for name in sorted(parts)], ignore_index=True), words


def labels(
    found: scan.Walk, top: str, paths: Sequence[str], classes: Collection[str] = ()
) -> tuple[pd.DataFrame | None, list[str]]:
    """The classes of the photos below `top`: by class folders, a table beside the photos, or their names; or None.

    One class folder alone is one if it is among the `classes` that are known.
    """
    tops = {part(path, 0) for path in paths} - {""}
    if len(tops) > 1 or tops & {*classes}:
        return from_class_folders(paths)
    return from_table_beside(found, top) or from_names(paths) or (None, [])


def from_class_folders(paths: Sequence[str]) -> Labelled:
    """<class>/<photo>, and photos in folders below a class folder."""
    own = frame(paths, lambda path: part(path, 0))
    loose = own["source"][own["label"] == ""].tolist()
    words = [f"Left out, being in no class folder: {len(loose)} photos ({scan.some(loose)})."] * bool(loose)
    own = own[own["label"] != ""].sort_values("label", kind="stable", ignore_index=True)
    inner: dict[str, set[str]] = {}  # the folders in each class folder; "" for a photo right there
    for path, label in zip(own["source"], own["label"], strict=True):
        inner.setdefault(label, set()).add(part(path, 1))
    if deeper := [label for label, names in inner.items() if len(names) > 1 and "" not in names]:
        words.append(
            f"Folders in class folders: {scan.some(deeper)}. All photos below count as that class. If the classes "
            f"are those inner folders, name the folder right above them with --photos."
        )
    return own, words


def from_table_beside(found: scan.Walk, top: str) -> Labelled | None:
    """The labels of the one table in the photos' folder or above it that fits them, as Roboflow's _classes.csv."""
    fitting = {}
    for path in tables_around(found, top):
        try:
            fitting[path] = tables.read(found.folder / path, found.below(top))
        except SmallsetError:
            continue
    if len(fitting) != 1:
        return None
    ((path, (own, words)),) = fitting.items()
    return own, [f"Classes: by the table {visible(path)}. --table names another.", *words]


def tables_around(found: scan.Walk, top: str) -> list[str]:
    """Tables in the folder `top` and in those around it, but for what Kaggle wants handed in, with made-up labels."""
    seen = [path for path in found.others if PurePosixPath(path).suffix.lower() in tables.SUFFIXES]
    around = {".", *scan.parents(top)}
    return [path for path in seen if str(PurePosixPath(path).parent) in around and "submission" not in path.lower()]


def from_names(paths: Sequence[str]) -> Labelled | None:
    """The classes in names that end with a number, if there are a few of each and they are not a camera's."""
    stems = [PurePosixPath(path).stem for path in paths]
    classes = {stem: match[1].strip(" ._-(") for stem in stems if (match := NUMBERED.match(stem))}
    words = {re.sub(r"[\W\d_]+", "", label).lower() for label in classes.values()}
    if len(classes) < len({*stems}) or not 1 < len({*classes.values()}) <= len(paths) / 2 or words & CAMERA:
        return None
    own = frame(paths, lambda path: classes[PurePosixPath(path).stem])
    example = f"{visible(PurePosixPath(paths[0]).name)} is {visible(own['label'][0])}"
    return own, [f"Classes: by the files' names ({example}). Class folders or a table decide otherwise."]


def unlabelled(found: scan.Walk, top: str) -> SmallsetError:
    """What to do with photos whose classes nothing tells: perhaps their folder is itself a class."""
    folder = (found.folder / top).absolute()
    cure = "Sort the photos into one folder for each class, or list their labels in a table."
    if around := tables_around(found, top):
        cure += f" If {scan.some(around)} is one, name it with --table."
    try:
        beside = sorted(path.name for path in folder.parent.iterdir() if path.is_dir() and not scan.hidden(path.name))
    except OSError:
        beside = []
    if not top and len(beside) > 1:
        cure += f" If the classes are {scan.some(beside)}, name {folder.parent}."
    classes = visible(folder.name) if top else "none"
    empty = [f"No photo in {scan.some(found.bare)}."] * bool(found.bare)
    return SmallsetError(
        " ".join([f"{found.folder}: expected two classes or more, found {classes}. {cure}", *empty, *found.said()])
    )


def completed(own: pd.DataFrame) -> Labelled:
    """With the one split that there is not drawn from the training photos, by their names; without any if two lack."""
    given = {*own["split"]}
    lacking = [split for split in SPLITS if split not in given]
    if len(given) == 1:
        return own.drop(columns="split"), [f"All photos with classes are for {given.pop()}: all splits are drawn."]
    if not lacking or "train" in lacking:
        return own, []
    train = own["split"] == "train"
    units = own["source"].where(own["group"] == "", own["group"]) if "group" in own else own["source"]
    units = units[train].map(lambda name: hashlib.sha256(os.fsencode(name)).hexdigest())
    taken = {unit for _, of_class in units.groupby(own["label"][train]) for unit in first_of(of_class)}
    own.loc[units.index[units.isin(taken)], "split"] = lacking[0]
    words = (
        f"No folder or line is for {lacking[0]}: one in {DRAWN} of the training photos of each class is drawn for it, "
        f"by their names. Give it photos of its own to decide otherwise."
    )
    return own, [words]


def first_of(units: pd.Series) -> list[str]:
    """The first units of a class, in order, until they have one in DRAWN of its photos; of a single photo none."""
    counts = units.value_counts().sort_index()
    before = counts.cumsum() - counts
    return [str(unit) for unit in counts.index[before < max(len(units) > 1, len(units) // DRAWN)]]


def check_labels(where: Path, own: pd.DataFrame) -> None:
    """Two classes or more, each usable as the name of a folder wherever the pipeline runs; all others are named."""
    first = own.drop_duplicates("label")
    if wrong := [
        f"'{visible(label)}' ({visible(source)})"
        for label, source in zip(first["label"], first["source"], strict=True)
        if not names.usable(label)
    ]:
        raise SmallsetError(
            f"{where}: label: expected names fit for a folder, of UTF-8, without a slash or a leading dot and not too "
            f"long; found {'; '.join(wrong)}. Rename them."
        )
    labels = sorted(first["label"])
    alike = [label for label, count in Counter(map(str.casefold, labels)).items() if count > 1]
    if alike:
        found = ", ".join(label for label in labels if label.casefold() in alike)
        raise SmallsetError(f"{where}: classes differ only in case: {found}. Write them alike.")
    if len(labels) < 2:
        raise SmallsetError(f"{where}: expected two classes or more, found {', '.join(labels)}. Add photos of another.")


def check_splits(where: Path, own: pd.DataFrame) -> None:
    """Every class in every split; no group in two. All that are not so are named."""
    if rare := [
        f"{label} in {', '.join(lacking)}"
        for label, splits in own.groupby("label")["split"]
        if (lacking := [split for split in SPLITS if split not in {*splits}])
    ]:
        raise SmallsetError(
            f"{where}: no photo of {'; of '.join(rare)}. Add some there, or name no splits and set subset.by: fraction."
        )
    if crossing := [
        f"{group!r} is in {', '.join(sorted({*splits}))}"
        for group, splits in (own.groupby("group")["split"] if "group" in own else ())
        if group and len({*splits}) > 1
    ]:
        raise SmallsetError(
            f"{where}: groups cross splits: {'; '.join(crossing)}. Give all photos of a group one split, or take the "
            f"column split away and set subset.by: fraction."
        )
