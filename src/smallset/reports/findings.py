"""What people should look at in the photos, from issues.csv and label_issues.csv: the numbers, and a few photos."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from smallset.evaluation import issues, label_issues
from smallset.pipeline.text import counted
from smallset.reports import thumbnails
from smallset.reports.thumbnails import Figure, Row

MAX_FIGURES = 12  # photos or pairs that are shown of each kind
NOUNS = {  # for the kinds in issues.csv that concern single photos
    "outlier": "outlier",
    "blurry": "blurry photo",
    "dark": "dark photo",
    "grayscale": "grayscale photo",
    "odd_size": "much smaller photo",
    "odd_aspect_ratio": "much longer photo",
}


@dataclass(frozen=True)
class Finding:
    """One kind of issue: its key in report.html, which explains it; the number with its noun; and the first photos."""

    key: str
    count: str
    figures: Sequence[Figure]


def list_findings(photo_issues: pd.DataFrame, labels: pd.DataFrame, root: Path) -> list[Finding]:
    """The findings in issues.csv and label_issues.csv, the gravest first; `root` is the folder of the files."""

    def show_label(row: Row) -> Figure:
        words = f"labeled {row['given_label']}, looks like {row['predicted_label']}"
        words += f": label quality {row['label_quality']:.4f} ({row['split']})"
        return thumbnails.show_file(row["file"], root, words)

    def show_photo(row: Row) -> Figure:
        return thumbnails.show_file(row["file"], root, f"{row['label']}, {row['detail']} ({row['split']})")

    groups: list[tuple[str, str, pd.DataFrame, Callable[[Row], Figure]]] = []
    for key, words, rows in group_pairs(photo_issues):
        count = f"{counted(len(rows), 'pair')} of duplicates {words}"
        groups.append((key, count, rows, lambda row: thumbnails.show_pair(row, root)))
    rows = label_issues.select_issues(labels)
    groups.append(("label-issues", counted(len(rows), "label issue"), rows, show_label))
    for kind, noun in NOUNS.items():
        rows = photo_issues[photo_issues["kind"] == kind]
        groups.append((kind, counted(len(rows), noun), rows, show_photo))
    return [
        Finding(key, count, [show(row) for row in rows.head(MAX_FIGURES).to_dict("records")])
        for key, count, rows, show in groups
        if len(rows)
    ]


def group_pairs(photo_issues: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The duplicates in issues.csv in three groups: a key, a phrase, and the rows."""
    pairs = photo_issues[photo_issues["kind"].isin(issues.DUPLICATES)]
    splits, labels = issues.crosses(pairs, "split"), issues.crosses(pairs, "label")
    yield "across-splits", "in two splits", pairs[splits]
    yield "across-labels", "in two classes", pairs[labels & ~splits]
    yield "within-split", "in one split", pairs[~labels & ~splits]
