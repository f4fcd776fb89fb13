"""What has become of the photos since an earlier run, by the lists of both: in words, class by class."""

import io
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from smallset.pipeline import committed

SPLITS = ("train", "validation", "test")
NONE = "No committed run to compare the photos with."
SAME = "The photos and their splits are those of the committed run."

Lists = Mapping[str, pd.DataFrame]  # split to its photos: file (<class>/<name>), label, digest
Reader = Callable[[Path], str | None]  # the text of a file of some run; None where it has none


def since_commit(folder: Path, now: Lists) -> str:
    """What to say to these lists beside those that git has in `folder`."""
    before = read(folder, committed.text)
    if before is None:
        return NONE
    lines = between(before, now)
    return "\n".join(["Since the committed run:", *(f"  {line}" for line in lines)]) if lines else SAME


def read(folder: Path, reader: Reader) -> Lists | None:
    """The lists <split>.csv in `folder` of an earlier run, if it has all of them."""
    texts = {split: reader(folder / f"{split}.csv") for split in SPLITS}
    if not all(texts.values()):
        return None
    return {split: pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False) for split, text in texts.items()}


def between(before: Lists, now: Lists) -> list[str]:
    """What was added, taken away, moved to another class or split or named anew; nothing where all is as it was.

    A photo is itself by its bytes, under any name.
    """
    names = renamed(before, now)
    old, new = joined(before).replace({"label": names}), joined(now)
    known, present = set(old["label"]), set(new["label"])
    same, old, new = matched(old, new, ["digest", "label", "name"])
    called, old, new = matched(old, new, ["digest", "label"])
    moved, gone, added = matched(old, new, ["digest"])
    return [
        *(f"class {one} is called {other} now" for one, other in sorted(names.items())),
        *counted("+", added, "a new class", present - known),
        *counted("-", gone, "a class no more", known - present),
        *relabelled(moved),
        *([f"{photos(len(called))} renamed"] if len(called) else []),
        *crossed(pd.concat([same, called, moved])),
    ]


def joined(lists: Lists) -> pd.DataFrame:
    """The rows of all splits in one table, with columns for the split and for the file's name in its class."""
    rows = pd.concat([rows.assign(split=split) for split, rows in lists.items()], ignore_index=True)
    return rows.assign(name=rows["file"].str.partition("/")[2])


def renamed(before: Lists, now: Lists) -> dict[str, str]:
    """Classes that have another name now: most of their photos are there under one that is new."""
    old, new = joined(before), joined(now)
    shared = old.merge(new, on="digest", suffixes=("_old", "_new")).value_counts(["label_old", "label_new"])
    rows, totals = shared.reset_index().itertuples(index=False, name=None), Counter(old["label"])
    pairs = [(one, other) for one, other, count in rows if 2 * count > totals[one]]
    gone, fresh = set(old["label"]) - set(new["label"]), set(new["label"]) - set(old["label"])
    sources = Counter(other for _, other in pairs)  # of two classes that became one, neither is renamed
    return {one: other for one, other in pairs if one in gone and other in fresh and sources[other] == 1}


def matched(old: pd.DataFrame, new: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows of both that have the same keys, one of the one with one of the other, and what is left of either.

    Of the pairs, columns that are no keys end in _old and _new.
    """
    old, new = numbered(old, keys), numbered(new, keys)
    pairs = old.reset_index().merge(new.reset_index(), on=[*keys, "number"], suffixes=("_old", "_new"))
    return pairs, old.drop(pairs["index_old"]), new.drop(pairs["index_new"])


def numbered(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The rows with a number that tells those with the same keys apart."""
    return rows.assign(number=rows.groupby(keys).cumcount())


def counted(sign: str, rows: pd.DataFrame, words: str, which: set[str]) -> list[str]:
    """A line for each class with photos that are added or gone; words: to be said of the classes `which`."""
    lines = []
    for label, own in rows.groupby("label"):
        note = f", {words}" if label in which else ""
        splits = ", ".join(f"{(own['split'] == split).sum()} {split}" for split in SPLITS)
        lines.append(f"{sign}{photos(len(own))} of {label}{note}: {splits}")
    return lines


def relabelled(pairs: pd.DataFrame) -> list[str]:
    """A line for each two classes between which photos moved."""
    counts = pairs.groupby(["label_old", "label_new"]).size().reset_index()
    rows = counts.itertuples(index=False, name=None)
    return [f"{photos(count)} moved from {old} to {new}" for old, new, count in rows]


def crossed(pairs: pd.DataFrame) -> list[str]:
    """A line if photos are in another split, as they are after another seed, and not after new photos."""
    moved = pairs[pairs["split_old"] != pairs["split_new"]]
    if moved.empty:
        return []
    tests = int((moved["split_new"] == "test").sum())
    seen = f", {tests} of them to the test photos: the models of that run have seen these" if tests else ""
    return [f"{len(moved)} of {photos(len(pairs))} went to another split{seen}"]


def photos(count: int) -> str:
    """As 1 photo, 2 photos."""
    return f"{count} {'photo' if count == 1 else 'photos'}"
