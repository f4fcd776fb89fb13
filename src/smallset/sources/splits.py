"""Which photos go to training, validation and test: by count as in listing 8.6, by fraction, or as given."""

import itertools
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from smallset.photos import decoding, lists
from smallset.pipeline import params, progress
from smallset.pipeline.errors import SmallsetError

SPLITS = ("train", "validation", "test")
UNUSED = ""  # the split of a photo that is in none
EXCLUDED = "excluded in params.yaml"  # why a photo of subset.exclude is left out


def copy_subset(raw: Path, target: Path, p: params.Subset, seed: int) -> dict[str, object]:
    """Fill `target`/<split>/<class>/ from `raw`/<class>/; return the counts, and the photos left out and why."""
    found = lists.find(raw)
    left_out = excluded(found, p.exclude)
    table = choose(raw, index(found), p, seed, left_out)
    copied: dict[str, dict[str, int]] = {split: {} for split in p.sizes}
    for split, label in itertools.product(p.sizes, found.classes):
        files = table.loc[(table["split"] == split) & (table["label"] == label), "file"]
        if files.empty:
            raise SmallsetError(
                f"{raw / label}: no photo of it for {split}: {(table['label'] == label).sum()} photos of this class "
                f"decode. Add photos, or change 'subset' in params.yaml. (Groups are not divided.)"
            )
        copy((raw / file for file in files), target / split / label)
        copied[split][label] = len(files)
    return {"photos": copied, "left_out": left_out}


def listed(subset: Path) -> dict[str, pd.DataFrame]:
    """The photos of each split below `subset`, as lists: file, label, digest."""
    return {split: lists.digested(lists.find(subset / split)).table() for split in SPLITS}


def excluded(found: lists.Photos, names: Iterable[str]) -> dict[str, str]:
    """The names (class/file), each with the reason; SmallsetError for one that no photo has."""
    known = set(found.files)
    if unknown := [name for name in names if name not in known]:
        raise SmallsetError(
            f"params.yaml: subset: exclude: no photo in {found.folder} is called {', '.join(unknown)}. "
            f"Write class/file, as {found.files[0]}, or take it off the list."
        )
    return dict.fromkeys(names, EXCLUDED)


def index(found: lists.Photos) -> pd.DataFrame:
    """One row of strings for each photo, in numeric order: file, label, and what photos.csv says of split and group."""
    table = pd.DataFrame({"file": found.files, "label": np.array(found.classes, dtype=object)[found.labels]})
    known = found.folder / "photos.csv"
    if not known.is_file():
        return table
    listed = pd.read_csv(known, dtype=str, keep_default_na=False)
    found_files, listed_files = set(found.files), set(listed["file"])
    if found_files != listed_files:
        new, gone = (sorted(names)[:3] for names in (found_files - listed_files, listed_files - found_files))
        raise SmallsetError(
            f"{known}: expected a line for each photo and no other; found none for {', '.join(new) or 'no photo'}, and "
            f"one too many for {', '.join(gone) or 'no photo'}. Add or take away lines."
        )
    return table.merge(listed.drop(columns="label"), on="file")


def choose(raw: Path, table: pd.DataFrame, p: params.Subset, seed: int, left_out: dict[str, str]) -> pd.DataFrame:
    """The table with a split for each photo that is not in `left_out`; those that do not decode are noted there."""
    if p.by == "count":
        if "group" in table:
            raise SmallsetError(
                "params.yaml: subset: by: count would divide the groups of download.table. Set by: fraction, or given."
            )
        table = without(table, left_out)
        return table.assign(split=by_count(raw, table, p.sizes, left_out))
    if p.by == "given" and "split" not in table:
        raise SmallsetError(
            "params.yaml: subset: by: given expects folders train, validation and test in download.folder, or a column "
            "split in download.table; found neither. Set by: fraction, or count."
        )
    names = progress.bar(table["file"], what="decoding", unit=" photos")
    table = table[[decodes(raw / file, left_out) for file in names]]
    # Excluded photos are drawn with the others: without one of them, all others would go to new splits.
    table = table if p.by == "given" else table.assign(split=by_fraction(table, p.sizes, seed))
    return without(table, left_out)


def without(table: pd.DataFrame, left_out: Iterable[str]) -> pd.DataFrame:
    """The rows of the other files."""
    return table[~table["file"].isin([*left_out])]


def by_count(raw: Path, table: pd.DataFrame, counts: Mapping[str, int], left_out: dict[str, str]) -> pd.Series:
    """Give the first photos of a class that decode to the first split, the next to the next.

    Raises SmallsetError when there are too few.
    """
    split_of: dict[str, str] = {}
    for label, files in table.groupby("label")["file"]:
        good = (file for file in files if decodes(raw / file, left_out))
        splits = {split: list(itertools.islice(good, count)) for split, count in counts.items()}
        found, needed = sum(map(len, splits.values())), sum(counts.values())
        if found < needed:
            wanted = " + ".join(f"{count} {split}" for split, count in counts.items())
            raise SmallsetError(
                f"{raw / str(label)}: expected {needed} photos that decode ({wanted}), found {found}. "
                f"Lower the counts of 'subset' in params.yaml, or add photos."
            )
        split_of |= {file: split for split, files in splits.items() for file in files}
    return table["file"].map(split_of).fillna(UNUSED)


def by_fraction(table: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """Draw shares of each class's photos for each split; a group stays whole, in the class that most of it has.

    Groups (or photos, each alone) lie in drawn order on a line as long as the class has photos, which is cut at the
    fractions; a group goes where its middle lies. So shares are rounded class by class, and no class moves another.
    """
    alone = table["file"]
    group = alone.where(table["group"] == "", table["group"]) if "group" in table else alone
    counts = pd.crosstab(group.to_numpy(), table["label"].to_numpy())  # (groups, classes)
    sizes, labels = counts.sum(axis=1), counts.idxmax(axis=1)
    names = np.array([*fractions, UNUSED], dtype=object)
    split_of: dict[str, str] = {}
    for number, label in enumerate(counts.columns):
        drawn = np.random.default_rng([seed, number]).permutation(sizes.index[labels == label])
        photos_of = sizes[drawn].to_numpy()
        middles = (photos_of.cumsum() - photos_of / 2) / photos_of.sum()
        places = np.searchsorted(np.cumsum([*fractions.values()]), middles)
        split_of |= dict(zip(drawn, names[places], strict=True))
    return group.map(split_of)


def decodes(file: Path, left_out: dict[str, str]) -> bool:
    """True, or False with the reason noted under <class>/<file>."""
    try:
        decoding.decode(file)
    except SmallsetError as error:
        left_out[f"{file.parent.name}/{file.name}"] = str(error).removeprefix(f"{file}: ")
        return False
    return True


def copy(files: Iterable[Path], folder: Path) -> None:
    """Copy one split of one class, photo by photo: a link would let a change there reach the original."""
    folder.mkdir(parents=True)
    for file in progress.bar(files, what=f"{folder.parent.name}/{folder.name}", unit=" photos"):
        shutil.copyfile(file, folder / file.name)
