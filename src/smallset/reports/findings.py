"""What people should look at in the photos, from issues.csv and label_issues.csv: the numbers, and a few photos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from smallset.evaluation import issues
from smallset.pipeline.text import counted
from smallset.reports import thumbnails

MAX_FIGURES = 12  # photos or pairs that are shown of each kind
NOUNS = {  # for the kinds in issues.csv that concern single photos
    "outlier": "outlier",
    "blurry": "blurry photo",
    "dark": "dark photo",
    "grayscale": "grayscale photo",
    "odd_size": "much smaller photo",
    "odd_aspect_ratio": "much longer photo",
}
LABEL_ISSUE = "labeled {given_label}, looks like {predicted_label}: label quality {label_quality:.4f}"


@dataclass(frozen=True)
class Finding:
    """One kind of issue: its key in report.html, which explains it; the number with its noun; and the first photos."""

    key: str
    count: str
    figures: Sequence[thumbnails.Figure]


def list_findings(photo_issues: pd.DataFrame, labels: pd.DataFrame, root: Path) -> Iterator[Finding]:
    """The findings in issues.csv and label_issues.csv, the gravest first; `root` is the folder of the files."""
    kinds = photo_issues["kind"]
    groups = [
        *((key, "pair", f" of duplicates {place}", rows, "{detail}") for key, place, rows in group_pairs(photo_issues)),
        ("label-issues", "label issue", "", labels, LABEL_ISSUE),
        *((kind, noun, "", photo_issues[kinds == kind], "{label}, {detail}") for kind, noun in NOUNS.items()),
    ]
    for key, noun, more, rows, words in groups:
        if len(rows):
            first = rows.head(MAX_FIGURES).to_dict("records")
            figures = [thumbnails.show_files(row, words.format_map(row), root) for row in first]
            yield Finding(key, f"{counted(len(rows), noun)}{more}", figures)


def group_pairs(photo_issues: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The duplicates in issues.csv in three groups: a key, a phrase, and the rows."""
    pairs = photo_issues[photo_issues["kind"].isin(issues.DUPLICATES)]
    splits, labels = issues.crosses(pairs, "split"), issues.crosses(pairs, "label")
    yield "across-splits", "in two splits", pairs[splits]
    yield "across-labels", "in two classes", pairs[labels & ~splits]
    yield "within-split", "in one split", pairs[~labels & ~splits]
