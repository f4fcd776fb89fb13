"""Which photos go to training, validation and test: by count as in listing 8.6, by fraction, or as given."""

import hashlib
import itertools
import shutil
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from smallset.datasets import corrections, lists, scan
from smallset.images import decoding
from smallset.pipeline import params, progress
from smallset.pipeline.errors import SmallsetError

SPLITS = ("train", "validation", "test")
UNUSED = ""  # the split of a photo that is in none
EXCLUDED = "excluded in params.yaml"  # why a photo of subset.exclude is left out
ROUNDING = 1e-9  # by which shares that are 1 in all may miss it
SEEDS = 100  # that are tried for one with which every class has photos in each split
FEW = 50  # test photos of a class; of fewer, one mistake moves its recall by more than two points
NAMED = 6  # classes in one line


def copy_subset(
    raw: Path, target: Path, p: params.Subset, seed: int, decided: corrections.Corrections | None = None
) -> dict[str, Any]:
    """Fill `target`/<split>/<class>/ from `raw`/<class>/; return the counts, and the photos left out and why.

    decided: by it photos have another label or are left out, once all have their splits: no photo moves for them.
    SmallsetError for a class that has no photo in some split.
    """
    decided = decided or {}
    found = lists.find(raw)
    corrections.check(decided, found.classes)
    left_out = excluded(found, p.exclude)
    everything = index(lists.digested(found) if p.by == "fraction" else found)
    table = choose(raw, everything, p, seed, left_out)
    complete(raw, counted(table).reindex(found.classes, fill_value=0), without(everything, left_out), p, seed)
    table = corrections.apply(decided, raw, table, found.files)
    changed = corrections.record(table)
    left_out |= dict.fromkeys(table["file"][table["out"]], corrections.REASON)
    table = table[~table["out"]]
    counts = counted(table)
    complete(corrections.FILE, counts, table, p, seed)
    for split, label in itertools.product(SPLITS, counts.index):
        chosen = table[(table["split"] == split) & (table["label"] == label)]
        copy(raw, dict(zip(chosen["file"], chosen["place"], strict=True)), target / split, label)
    return {"photos": {split: counts[split].to_dict() for split in SPLITS}, "left_out": left_out} | changed


def complete(where: Path, counts: pd.DataFrame, table: pd.DataFrame, p: params.Subset, seed: int) -> None:
    """SmallsetError for a class that has no photo in some split; counts: photos by class and split, of the table.

    where: what to look at, the folder of photos or what was decided about them.
    """
    if not counts.to_numpy().all():
        raise SmallsetError(f"{where}: {lacking(counts, table, p, seed)}")


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """Photos by class (rows) and split (columns)."""
    return pd.crosstab(table["label"], table["split"]).reindex(columns=list(SPLITS), fill_value=0)


def lacking(counts: pd.DataFrame, table: pd.DataFrame, p: params.Subset, seed: int) -> str:
    """Which classes have no photo in some split, how many they have elsewhere, and the cure; table: what is divided."""
    rows = counts[~counts.all(axis=1)].iterrows()
    found = [f"{label} has {', '.join(f'{row[split]} {split}' for split in SPLITS)}" for label, row in rows]
    cure = "Add photos of it there"
    if p.by == "fraction":
        cure = "Add photos of it, or give the split a larger share: shares hold in the mean, and groups are not divided"
        if (other := another_seed(table, p.sizes, seed)) is not None:
            cure += f". Or, as long as there are no results to compare with, set seed: {other}: with it all have some"
    return f"expected photos of each class in each split; {'; '.join(found)}. {cure}."


def summary(record: dict[str, Any]) -> str:
    """What copy_subset has done, in a few lines."""
    counts = pd.DataFrame(record["photos"])
    sums = ", ".join(f"{counts[split].sum()} {split}" for split in SPLITS)
    gone = record["left_out"]
    out = f"; {len(gone)} left out, one by one in metrics/subset.json: {scan.counted(gone)}" if gone else ""
    return "\n".join([f"{counts.to_numpy().sum()} photos of {len(counts)} classes: {sums}{out}", *few(counts)])


def few(counts: pd.DataFrame) -> list[str]:
    """A line on the classes with few test photos, and the cure; counts: photos by class (rows) and split (columns)."""
    found = [f"{label} ({count})" for label, count in counts["test"].items() if count < FEW]
    if not found:
        return []
    return [
        f"Few test photos: {named(found)}. One mistake moves the recall of such a class by two points or more, and "
        f"small differences between the models will mean nothing. Add photos, or make subset.test larger."
    ]


def named(words: list[str], between: str = ", ") -> str:
    """The words, or the first ones and how many more there are."""
    return between.join(words[:NAMED]) + (f" and {len(words) - NAMED} more" if len(words) > NAMED else "")


def listed(subset: Path, raw: Path, record: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The photos of each split below `subset`, as lists: file, label, digest, and the group where `raw` has groups.

    record: what copy_subset has given.
    """
    tables = {split: lists.digested(lists.find(subset / split)).table() for split in SPLITS}
    known = index(lists.find(raw))
    if lists.GROUP not in known:
        return tables
    groups, sources = known.set_index("file")[lists.GROUP], corrections.sources(record)
    own = {split: groups[[sources.get(file, file) for file in table["file"]]] for split, table in tables.items()}
    return {split: table.assign(**{lists.GROUP: own[split].to_numpy()}) for split, table in tables.items()}


def excluded(found: lists.Photos, names: Iterable[str]) -> dict[str, str]:
    """The files that the names (class/file) mean, each with the reason; SmallsetError for one that no photo has.

    Typed in whole letters, or in letters and accents, a name means the same.
    """
    known = {unicodedata.normalize("NFC", file): file for file in found.files} | {file: file for file in found.files}
    meant = {name: known.get(name, known.get(unicodedata.normalize("NFC", name))) for name in names}
    if unknown := [name for name, file in meant.items() if file is None]:
        raise SmallsetError(
            f"params.yaml: subset: exclude: no photo in {found.folder} is called {', '.join(unknown)}. "
            f"Write class/file, as {found.files[0]}, or take it off the list."
        )
    return {file: EXCLUDED for file in meant.values() if file}


def index(found: lists.Photos) -> pd.DataFrame:
    """One row of strings for each photo, in numeric order, with what photos.csv says of split and group."""
    table = found.table()
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
    """The photos that are in a split, which a column names; those that are left out are noted with the reason."""
    table = without(table, left_out)
    if p.by == "count":
        if "group" in table:
            raise SmallsetError(
                "params.yaml: subset: by: count would divide the groups of download.table. Set by: fraction, or given."
            )
        table = table.assign(split=by_count(raw, table, p.sizes, left_out))
        return table[table["split"] != UNUSED]
    if p.by == "given" and "split" not in table:
        raise SmallsetError(
            "params.yaml: subset: by: given expects folders train, validation and test in download.folder, or a column "
            "split in download.table; found neither. Set by: fraction, or count."
        )
    if p.by == "fraction":
        table = table.assign(split=by_fraction(table, p.sizes, seed))
        table = one_split_for_bytes(table[table["split"] != UNUSED], left_out)
    names = progress.bar(table["file"], what="decoding", unit=" photos")
    return table[[decodes(raw / file, left_out) for file in names]]


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
    """Draw the split of each photo from its group, or where it has none from the digest of its bytes, and the seed.

    From nothing else: whatever else is added, taken away, renamed or moved to another class, the photo stays where it
    is. So `fractions` are shares in the mean, of photos and of groups.
    """
    groups = table["group"] if "group" in table else pd.Series("", table.index)
    # Two kinds of names, lest a group called as a photo's digest goes with it.
    keys = ("group " + groups).where(groups != "", "photo " + table["digest"])
    return keys.map(lambda key: cut(point(key, seed), fractions))


def point(key: str, seed: int) -> float:
    """A place from 0 to below 1, evenly spread over keys: 53 bits of the SHA-256 of the seed and the key."""
    return (int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8]) >> 11) / 2**53


def cut(place: float, fractions: Mapping[str, float]) -> str:
    """The split that a place from 0 to 1 is in.

    First come those of the test photos, last those of the validation photos; training photos follow the test photos. So
    no test photo goes elsewhere unless `test` is made smaller, whatever the others are.
    """
    if place < fractions["test"]:
        return "test"
    if place >= 1 - fractions["validation"]:
        return "validation"
    return "train" if place < fractions["test"] + fractions["train"] + ROUNDING else UNUSED


def one_split_for_bytes(table: pd.DataFrame, left_out: dict[str, str]) -> pd.DataFrame:
    """The photos without those whose bytes another photo has in another split: noted, for no photo may move for them.

    Only groups can part the same bytes. The first photo of the first group by name stays.
    """
    groups = table["group"] if "group" in table else pd.Series("", table.index)
    order = table.assign(alone=groups == "", group=groups).sort_values(["alone", "group"], kind="stable")
    twins = order.drop_duplicates("digest").set_index("digest").loc[table["digest"]]
    parted = table["split"].to_numpy() != twins["split"].to_numpy()
    for file, twin in zip(table["file"][parted], twins[parted].itertuples(), strict=True):
        left_out[file] = f"the same bytes as {twin.file}, which its group, {twin.group}, puts into another split"
    return without(table, left_out)


def another_seed(table: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> int | None:
    """The first of the next seeds with which every class has photos in each split, if there is one."""
    for other in range(seed + 1, seed + 1 + SEEDS):
        if counted(table.assign(split=by_fraction(table, fractions, other))).to_numpy().all():
            return other
    return None


def decodes(file: Path, left_out: dict[str, str]) -> bool:
    """True, or False with the reason noted under <class>/<file>."""
    try:
        decoding.decode(file)
    except SmallsetError as error:
        left_out[f"{file.parent.name}/{file.name}"] = str(error).removeprefix(f"{file}: ")
        return False
    return True


def copy(raw: Path, places: Mapping[str, str], target: Path, label: str) -> None:
    """Copy one split of one class, photo by photo: a link would let a change there reach the original.

    places: of each file below `raw`, where it goes below `target`.
    """
    (target / label).mkdir(parents=True)
    for file, place in progress.bar(places.items(), what=f"{target.name}/{label}", unit=" photos"):
        shutil.copyfile(raw / file, target / place)
