"""What changed in a table of photos since an earlier one, in words."""

import io
from collections import Counter
from collections.abc import Iterator

import pandas as pd

from smallset.datasets.dataset import SPLITS, TABLE
from smallset.pipeline import git
from smallset.pipeline.text import counted, first_lines


def since_commit(photos: pd.DataFrame) -> str:
    """The differences between a table of photos and the committed metrics/photos.csv, in words."""
    if not (before := git.show(TABLE)):
        return "There is no committed run to compare the photos with."
    changes = describe_photos(pd.read_csv(io.StringIO(before), dtype=str, keep_default_na=False), photos)
    return "\n  ".join(["Photos since the committed run:", *(changes or ["No change."])])


def describe_photos(before: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """Sentences on photos that were added, removed, renamed, or moved to another class or split.

    The tables are those of `Dataset`. A photo is recognized by its bytes, under any name.
    """
    renamed = find_renamed(before, now)
    old, new = (
        table.assign(number=table.groupby("sha256").cumcount(), name=table["file"].str.rpartition("/")[2])
        for table in (before.replace({"label": renamed}).sort_values("file"), now.sort_values("file"))
    )
    rows = old.merge(new, "outer", ["sha256", "number"], suffixes=("_old", "_new"), indicator="run")
    classes, both = (set(old["label"]), set(new["label"])), rows[rows["run"] == "both"]
    same = both["label_old"] == both["label_new"]
    labels = Counter(zip(both["label_old"][~same], both["label_new"][~same], strict=True))
    names, moved = (same & (both["name_old"] != both["name_new"])).sum(), both[both["split_old"] != both["split_new"]]
    tests = (moved["split_new"] == "test").sum()
    seen = f" {tests} of these are test photos now, which the earlier models have seen." if tests else ""
    sentences = [
        *(f"The class {label} is now called {renamed[label]}." for label in sorted(renamed)),
        *_describe_counts(rows[rows["run"] == "right_only"], "new", "added to", ", a new class", classes[0]),
        *_describe_counts(rows[rows["run"] == "left_only"], "old", "removed from", ", which is gone", classes[1]),
        *(f"{counted(count, 'photo')} moved from {a} to {b}." for (a, b), count in sorted(labels.items())),
    ]
    return [
        *first_lines(sentences, "{} more changes of this kind."),
        *([f"{counted(names, 'photo')} renamed."] if names else []),
        *([f"{len(moved)} of {counted(len(both), 'photo')} moved to another split.{seen}"] if len(moved) else []),
    ]


def find_renamed(before: pd.DataFrame, now: pd.DataFrame) -> dict[str, str]:
    """Classes that are gone, each with the new class that has its photos, and photos of no other class."""
    both = before.merge(now, on="sha256").drop_duplicates(["label_x", "label_y"])
    both = both.drop_duplicates("label_x", keep=False).drop_duplicates("label_y", keep=False)
    gone, added = ~both["label_x"].isin(now["label"]), ~both["label_y"].isin(before["label"])
    return dict(zip(both["label_x"][gone & added], both["label_y"][gone & added], strict=True))


def _describe_counts(rows: pd.DataFrame, run: str, verb: str, note: str, classes: set[str]) -> Iterator[str]:
    for label, photos in rows.groupby(f"label_{run}"):
        splits = ", ".join(f"{(photos[f'split_{run}'] == split).sum()} {split}" for split in SPLITS)
        yield f"{counted(len(photos), 'photo')} {verb} {label}{'' if label in classes else note} ({splits})."
