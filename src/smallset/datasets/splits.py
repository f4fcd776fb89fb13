"""Assign photos to training, validation and test: by count (listing 8.6), by fraction, or as the dataset says."""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from smallset.datasets.dataset import SPLITS, Dataset
from smallset.datasets.measure import LeftOut
from smallset.datasets.scan import some
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

UNUSED = ""  # the split of a photo that is in none
EXCLUDED = "excluded in params.yaml"  # the reason why a photo is left out
UNTRAINED = "no training photo has its class"  # likewise
ROUNDING = 1e-9  # fractions with a sum of 1 may differ from it by this
SEEDS = 100  # how many other seeds are tried when a class has no photo in a split
FEW = 50  # test photos of a class: with fewer, one mistake changes its recall by more than two points
LACKS = {"train": ", and are left out", "validation": "", "test": ", and are not measured"}  # what follows
NAMED = 6  # classes in a sentence


def exclude(dataset: Dataset, names: Iterable[str], folder: str) -> tuple[Dataset, LeftOut]:
    """Leave out files by their names, which may lack `folder`. SmallsetError for a name that no photo has."""
    file_of = {unicodedata.normalize("NFC", file): file for file in dataset.table["file"]}  # é has two spellings
    paths = {name: unicodedata.normalize("NFC", name) for name in names}
    matches = {name: file_of.get(path, file_of.get(f"{folder}/{path}")) for name, path in paths.items()}
    if unknown := [name for name, file in matches.items() if file is None]:
        fix = f"Write the path, as {dataset.table['file'][0]}, or remove it from the list."
        raise SmallsetError(f"params.yaml: exclude: no photo in {folder} is called {some(unknown, NAMED)}. {fix}")
    left_out = dict.fromkeys((file for file in matches.values() if file), EXCLUDED)
    return dataset.take(~dataset.table["file"].isin(left_out).to_numpy()), left_out


def assign_splits(dataset: Dataset, p: params.Split, seed: int) -> tuple[Dataset, LeftOut]:
    """Return the photos of a measured dataset that are in a split, and why copies that would be in two are left out."""
    table = dataset.table
    if p.by == "given":
        _check_given(table)
        return dataset, {}
    splits = _split_by_count(table, p.shares) if p.by == "count" else draw_splits(table, p.shares, seed)
    table = table.assign(split=splits)[splits != UNUSED].reset_index(drop=True)
    table, left_out = _keep_copies_together(table) if p.by == "fraction" else (table, {})
    return replace(dataset, table=table), left_out


def _check_given(table: pd.DataFrame) -> None:
    if (table["split"] == "").any():
        expected = "expected folders train, validation and test, or a column split in the table; found neither"
        raise SmallsetError(f"params.yaml: by: given: {expected}. Write `by: fraction` or `by: count`.")
    splits_of = table[table["group"] != ""].groupby("group")["split"].unique().map(sorted)
    if crossing := [f"{group!r} in {', '.join(names)}" for group, names in splits_of.items() if len(names) > 1]:
        problem = f"given: expected each group in one split, found {some(crossing, NAMED)}"
        fix = "Give all photos of a group the same split, or write `by: fraction`."
        raise SmallsetError(f"params.yaml: by: {problem}. {fix}")


def _split_by_count(table: pd.DataFrame, counts: Mapping[str, int]) -> pd.Series:
    """The first photos of each class are for training, the next ones for validation, the next ones for testing."""
    if (table["group"] != "").any():
        raise SmallsetError("params.yaml: by: count: would divide the groups of the table. Write `by: fraction`.")
    numbers, needed = table["label"].value_counts(), sum(counts.values())
    for label, number in numbers[numbers < needed].items():
        wanted = " + ".join(f"{count} {split}" for split, count in counts.items())
        problem = f"expected {needed} photos that decode ({wanted}), found {number}"
        raise SmallsetError(f"{label}: {problem}. Lower the counts in params.yaml, or add photos.")
    names = np.repeat([*counts, UNUSED], [*counts.values(), len(table)])
    return pd.Series(names[table.groupby("label").cumcount()], table.index, dtype=object)


def draw_splits(table: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """The split of each photo, drawn from its group, or else from its sha256, and the seed.

    Because nothing else matters, a photo stays in its split when others are added, removed, renamed or relabeled. The
    fractions hold on average, and groups stay undivided.
    """
    keys = ("group " + table["group"]).where(table["group"] != "", "photo " + table["sha256"])
    bits = keys.map(lambda key: int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8]) >> 11)
    position = bits / 2**53  # in 0..1, evenly distributed
    # Test photos come first, then training photos; validation photos come last. So a test photo stays one unless `test`
    # is made smaller, whatever happens to the other fractions.
    ends = {
        "test": position < fractions["test"],
        "validation": position >= 1 - fractions["validation"],
        "train": position < fractions["test"] + fractions["train"] + ROUNDING,
    }
    return pd.Series(np.select([*ends.values()], [*ends], UNUSED), table.index, dtype=object)


def _keep_copies_together(table: pd.DataFrame) -> tuple[pd.DataFrame, LeftOut]:
    """Leave out photos whose bytes are in another split too; the first photo of the first group by name stays.

    This only happens when copies belong to different groups.
    """
    order = table.assign(alone=table["group"] == "").sort_values(["alone", "group"], kind="stable")
    kept = order.drop_duplicates("sha256").set_index("sha256").loc[table["sha256"]]
    other = table["split"].to_numpy() != kept["split"].to_numpy()
    left_out = {
        file: f"the same file as {copy.file}, whose group, {copy.group}, is in another split"
        for file, copy in zip(table["file"][other], kept[other].itertuples(), strict=True)
    }
    return table[~other].reset_index(drop=True), left_out


def count_photos(table: pd.DataFrame) -> pd.DataFrame:
    """The number of photos by class (rows) and split (columns)."""
    return pd.crosstab(table["label"], table["split"]).reindex(columns=[*SPLITS], fill_value=0)


def leave_out_untrained(dataset: Dataset, p: params.Split) -> tuple[Dataset, LeftOut]:
    """Leave out the classes without training photos, if splits are drawn, because their photos cannot be moved."""
    counts = count_photos(dataset.table)
    names = set(counts.index[counts["train"] == 0]) if p.by == "fraction" else set[str]()
    lost = dataset.table["label"].isin(names)
    classes = tuple(name for name in dataset.classes if name not in names)
    kept = replace(dataset.take(~lost.to_numpy()), classes=classes) if names else dataset
    return kept, dict.fromkeys(dataset.table["file"][lost], UNTRAINED)


def check_complete(dataset: Dataset, p: params.Split, seed: int, where: str) -> None:
    """SmallsetError when a split is empty, or classes have no training photos, with the fix.

    `leave_out_untrained` leaves such classes out where splits are drawn, unless fewer than two remain. A class may lack
    validation or test photos.
    """
    counts = count_photos(dataset.table).reindex(dataset.classes, fill_value=0)
    trained = counts["train"] > 0
    empty = [split for split in SPLITS if not counts[split].sum()]
    if empty:
        problem = f"expected photos in each split, found none in {' and '.join(empty)}"
    elif trained.sum() < 2 or (p.by != "fraction" and not trained.all()):
        expected = "at least two classes" if p.by == "fraction" else "each class"
        problem = f"expected training photos of {expected}; {some(list(counts.index[~trained]), NAMED)} has none"
    else:
        return
    fix = "Add photos there"
    if p.by == "fraction":
        fix = "Add photos, or make that split larger. Fractions hold on average, and groups stay undivided"
        for other in range(seed + 1, seed + 1 + SEEDS):
            drawn = count_photos(dataset.table.assign(split=draw_splits(dataset.table, p.shares, other)))
            if drawn.any().all() and (drawn["train"] > 0).sum() > 1:
                fix += f". Or set seed: {other}, if there are no results to compare with"
                break
    raise SmallsetError(f"{where}: {problem}. {fix}.")


def warn_about_few(counts: pd.DataFrame) -> list[str]:
    """Sentences about classes without photos in a split, or with few test photos.

    counts: photos by class (rows) and split (columns).
    """
    missing = {str(split): [str(label) for label in counts.index[numbers == 0]] for split, numbers in counts.items()}
    notes = [
        f"These classes have no {split} photos{LACKS[split]}: {some(labels, NAMED)}."
        for split, labels in missing.items()
        if labels
    ]
    few = [f"{label} ({count})" for label, count in counts["test"].items() if 0 < count < FEW]
    effect = "One mistake changes the recall of such a class by more than two points"
    fix = "and small differences between models mean nothing. Add photos, or make the test split larger."
    return notes + ([f"Few test photos: {some(few, NAMED)}. {effect}, {fix}"] if few else [])
