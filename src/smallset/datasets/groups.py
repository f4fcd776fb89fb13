"""Photos that belong together: groups that share a photo, copies of a picture, versions of a photo, bursts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from smallset.datasets.dataset import SPLITS, Dataset
from smallset.datasets.scan import some
from smallset.images import decoding  # noqa: F401 - Pillow then reads HEIC
from smallset.pipeline import progress, text
from smallset.pipeline.errors import SmallsetError

COPY = "the same picture with the same label as another photo, so it does not count again"
VERSION = re.compile(r"^(.+)\.rf\.[0-9A-Za-z]{6,}$")  # Roboflow's name of a version of a photo, without .jpg
NUMBERED = re.compile(r"^(.*\d)[_-]\d{1,2}$")  # IMG_0001_2 is number 2 of the burst IMG_0001
CAMERA, TIME = (271, 272), (36867, 306)  # tags of Exif: maker and model; when the photo was taken, or changed
EXIF = 0x8769  # the part of Exif with the first of TIME
NAMED = 6  # groups in a sentence


def merge(keys: Iterable[Any], groups: Iterable[str]) -> tuple["pd.Series[str]", list[str]]:
    """Merge groups that share a key (union-find): the new group of each row, and each merge, as "a + b".

    A merged group has the name of its first group in the order of their names, so the names of the other rows' groups
    do not change. A row without a group joins the group of its key.
    """
    names = pd.Series([*groups], dtype=object)
    key, group = pd.factorize(pd.Series([*keys]))[0], pd.factorize(names)[0]
    grouped = (names != "").to_numpy()
    count = len(names)
    links = coo_array((np.ones(grouped.sum()), (key[grouped], count + group[grouped])), (2 * count, 2 * count))
    component = pd.Series(connected_components(links, directed=False)[1][key])
    merged = names.where(grouped).groupby(component).transform("min").fillna("").astype(object)
    several = names[grouped].groupby(component[grouped]).unique()
    return merged, [" + ".join(sorted(part)) for part in several if len(part) > 1]


def describe_merged(merged: Sequence[str], why: str) -> list[str]:
    """A sentence about groups that were merged; no sentence if there are none."""
    return [f"These groups are merged, because {why}: {some(merged, NAMED)}."] if merged else []


def merge_copies(dataset: Dataset) -> tuple[Dataset, list[str]]:
    """Merge the groups of a measured dataset that contain the same picture."""
    merged, parts = merge(dataset.table["pixels"], dataset.table["group"])
    table = dataset.table.assign(group=merged.to_numpy())
    return replace(dataset, table=table), describe_merged(parts, "they contain the same picture")


def check_given(table: pd.DataFrame, key: str) -> None:
    """SmallsetError with a count when splits that a user has made contain the same picture twice."""
    splits = table.groupby(key)["split"].nunique()
    crossing = table[table[key].isin(splits.index[splits > 1])]
    if len(crossing):
        pairs = [" = ".join(part) for part in crossing.groupby(key, sort=False)["file"].unique()]
        raise SmallsetError(
            f"by: given: {text.counted(len(pairs), 'picture')} in two splits ({some(pairs)}), so the test would be too "
            f"easy. Remove one of each, add it to split.exclude in params.yaml, or write `by: fraction`."
        )


def count_once(dataset: Dataset) -> tuple[Dataset, dict[str, str]]:
    """Keep each picture once per label, and in one split only; return the files that are left out, with the file kept.

    Equal pixels make two photos the same picture, whatever their bytes are. Of copies in two splits the one in test
    stays, then the one in validation: so a picture that is tested is never trained on, and a new copy of it changes
    nothing.
    """
    table = dataset.table
    rank = table["split"].map({split: -number for number, split in enumerate(SPLITS)})
    first = rank.groupby(table["pixels"]).transform("min")
    order = table.assign(rank=rank)[rank == first]
    kept = order.drop_duplicates(["pixels", "label"])
    out = table[~table.index.isin(kept.index)]
    file_of = kept.drop_duplicates("pixels").set_index("pixels")["file"]
    return dataset.take(table.index.isin(kept.index)), dict(zip(out["file"], file_of[out["pixels"]], strict=True))


def group_versions(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Give the versions that Roboflow made of one photo a common group, unless they are in different splits already."""
    matches = rows["file"].map(lambda file: VERSION.match(PurePosixPath(file).stem))
    names = matches.map(lambda match: match[1] if match else "").where(rows["group"] == "", "")
    names = names.where(rows["split"].groupby(names).transform("nunique") < 2, "")
    if not (versions := names != "").any():
        return rows, []
    note = f"Groups: {versions.sum():,} files are Roboflow's versions of {names[versions].nunique():,} photos."
    rows = rows.assign(group=rows["group"].where(~versions, names))
    return rows, [f"{note} The versions of a photo are in one split."]


def find_bursts(paths: Mapping[str, Path]) -> dict[str, str]:
    """The burst of each file that has one with two photos or more: its folder and the minute, or the number before _1.

    Photos of one folder belong to a burst when the same camera took them in the same minute, or when their names differ
    only in a last short number, as IMG_0001_0 and IMG_0001_1.
    """
    bursts = {file: _name_burst(file, path) for file, path in progress.bar(paths.items(), what="reading Exif")}
    counts = pd.Series(bursts, dtype=object).value_counts()
    return {file: burst for file, burst in bursts.items() if burst and counts[burst] > 1}


def _name_burst(file: str, path: Path) -> str:
    name, folder = PurePosixPath(file).stem, PurePosixPath(file).parent.as_posix()
    try:
        with Image.open(path) as image:
            exif = image.getexif()
        tags = {**exif, **exif.get_ifd(EXIF)}
    except Exception:  # noqa: BLE001 - Pillow raises many types for broken metadata
        tags = {}
    camera = " ".join(str(tags.get(tag, "")).strip("\0 ") for tag in CAMERA).strip()
    minute = next((str(tags[tag])[:16] for tag in TIME if tag in tags), "")
    if camera and re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d", minute):
        return text.visible(f"{folder}: {camera}, {minute}")
    return f"{folder}/{match[1]}" if (match := NUMBERED.match(name)) else ""
