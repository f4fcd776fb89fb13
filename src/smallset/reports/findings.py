"""What deserves a look in the photos themselves, by the audit and the suspects: in words, and a few of each kind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from smallset.evaluation import diff
from smallset.pipeline.text import counted
from smallset.reports import results, thumbnails

MOST = 12  # photos or pairs that are shown of each kind


@dataclass(frozen=True)
class Finding:
    """One kind: an anchor, a title, how many as a noun with its number, what it means, and the first few."""

    key: str
    title: str
    count: str
    note: str
    figures: Sequence[thumbnails.Figure]


def all_of(found: results.Results, subset: Path) -> list[Finding]:
    """Those that there are, the gravest first."""
    unlike = found.unlike.get(found.best, pd.DataFrame())
    return [
        *duplicates(found.duplicates, subset),
        *doubtful(found.suspects, subset),
        *strange(unlike, subset),
        *odd(found.photos, subset),
    ]


def duplicates(pairs: pd.DataFrame, subset: Path) -> Iterator[Finding]:
    """Pairs of photos alike, by what they cross."""
    if pairs.empty:
        return
    splits, classes = pairs["crosses_splits"], pairs["crosses_classes"]
    for key, title, words, rows, note in (
        (
            *("two-splits", "The same photo in two splits", "in two splits", pairs[splits]),
            "The test is easier than it should be where a test photo was trained on. The stage audit prints the line "
            "for params.yaml that leaves one of each pair out.",
        ),
        (
            *("two-classes", "The same photo in two classes", "in two classes", pairs[classes & ~splits]),
            "One of the two labels is wrong.",
        ),
        (
            *("twice", "The same photo twice in one split", "twice in one split", pairs[~classes & ~splits]),
            "Harmless but where there are many: then fewer photos are different than were counted.",
        ),
    ):
        if len(rows):
            figures = [thumbnails.pair(row, subset) for row in rows.head(MOST).to_dict("records")]
            yield Finding(key, title, f"{counted(len(rows), 'pair')} of photos alike {words}", note, figures)


def doubtful(suspects: pd.DataFrame, subset: Path) -> Iterator[Finding]:
    """Photos whose label a model that had not seen them does not believe."""
    rows = suspects[suspects["probability"] < diff.DOUBTED] if len(suspects) else suspects
    if len(rows):
        figures = [
            thumbnails.of(row, subset, f"labelled {row['label']}, looks like {row['suspected']}")
            for row in rows.head(MOST).to_dict("records")
        ]
        note = (
            "A model that had not seen the photo, nor its label, takes it for another class. Some are hard photos, "
            "some wrong labels: a person decides."
        )
        yield Finding("labels", "Labels in doubt", f"{counted(len(rows), 'label')} in doubt", note, figures)


def strange(unlike: pd.DataFrame, subset: Path) -> Iterator[Finding]:
    """The photos of each split that are called unlike those that the best model was trained on, the first few."""
    rows = [row for row in unlike.to_dict("records") if row["unlike"]]
    if rows:
        figures = [
            thumbnails.of(row, subset, f"{row['class']}, {row['unlikeness']:.2f} from the others") for row in rows
        ]
        note = (
            "Of each split the first few, the training photos by those of other folds; the number is how far a photo "
            "lies outside of all that the model knows. A placeholder, a screenshot or a stray photo is among the first."
        )
        yield Finding("unlike", "Unlike the others", f"{counted(len(rows), 'photo')} unlike the others", note, figures)


def odd(photos: pd.DataFrame, subset: Path) -> Iterator[Finding]:
    """Photos unlike the others by one of the audit's flags, the oddest first; what most photos are is not odd."""
    if photos.empty:
        return
    shorter, stretch = photos[["width", "height"]].min(axis=1), np.abs(np.log(photos["aspect"]))
    for flag, title, noun, order, note in (
        ("blurred", "Blurred photos", "blurred photo", -photos["blur"], "No edge in them is sharp."),
        ("dark", "Dark photos", "dark photo", photos["luminance"], "They show little."),
        (
            *("greyscale", "Grey photos", "photo without colour", pd.Series(0, photos.index)),
            "Where one class has most of them, a model may learn that instead.",
        ),
        ("tiny", "Small photos", "photo much smaller than the rest", shorter, "Enlarged to the size of the others."),
        (
            *("extreme_aspect", "Long photos", "photo much longer or taller than the rest", -stretch),
            "Every photo is squeezed into a square: these are distorted most.",
        ),
    ):
        rows = photos[photos[flag]]
        if 0 < len(rows) <= len(photos) / 2:
            first = rows.loc[order[rows.index].sort_values(kind="stable").index].head(MOST)
            figures = [thumbnails.of(row, subset, size(row)) for row in first.to_dict("records")]
            words = noun.replace("photo", "photos", 1) if len(rows) > 1 else noun
            yield Finding(flag.replace("_", "-"), title, f"{len(rows):,} {words}", note, figures)


def size(row: thumbnails.Row) -> str:
    """Of a photo, as 640 x 480 px."""
    return f"{row['width']} x {row['height']} px"
