"""What people should check in the photos, from the tables of a pipeline: queues of photos, the most useful first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from smallset.datasets.corrections import Correction
from smallset.evaluation import label_issues
from smallset.pipeline import files
from smallset.reports import findings, thumbnails
from smallset.reports.results import Results

LEFT_OUT, DECIDED, CLASS = "left-out", "decided", "class:"  # keys of queues that also show decided photos
QUALITY = ("dark", "blurry")  # kinds of issues
Row = dict[Any, Any]


class Photo(NamedTuple):
    """One photo; equal files are one photo."""

    file: str
    label: str
    split: str  # "" for a photo in no split


class Item(NamedTuple):
    """A photo in a queue."""

    sha256: str
    reason: str
    suggestion: str = ""  # another label
    other: str = ""  # the sha256 of a photo to compare it with


class Queue(NamedTuple):
    """Photos with the same question."""

    key: str
    title: str
    items: list[Item]


@dataclass(frozen=True)
class Album:
    """All photos of a pipeline and what its models predict for them, by sha256; and the queues that are not empty."""

    photos: dict[str, Photo]
    predictions: dict[str, list[str]]
    queues: list[Queue]

    @property
    def classes(self) -> list[str]:
        """The classes of the photos in the splits, sorted."""
        return sorted({photo.label for photo in self.photos.values() if photo.split})

    def list_items(self, key: str, corrections: Mapping[str, Correction]) -> list[Item]:
        """The items of a queue without those that are decided."""
        if key == DECIDED:
            decided = sorted((row.when, sha256) for sha256, row in corrections.items() if sha256 in self.photos)
            return [Item(sha256, f"Decided {when}") for when, sha256 in decided]
        if key.startswith(CLASS):
            label = key.removeprefix(CLASS)
            return [Item(sha256, "") for sha256, row in self.photos.items() if row.split and row.label == label]
        items = next((queue.items for queue in self.queues if queue.key == key), [])
        return [item for item in items if key == LEFT_OUT or not {item.sha256, item.other} & corrections.keys()]


def read_album(folder: Path) -> Album:
    """Read the tables of a pipeline; SmallsetError when its photos have not been split."""
    results = Results(folder)
    records = results.dataset.table.drop_duplicates("sha256").to_dict("records")
    photos = {row["sha256"]: Photo(row["file"], row["label"], row["split"]) for row in records}
    left_out = []
    for file, reason in results.splits["left_out"].items():
        if (folder / file).is_file():
            left_out.append(Item(files.sha256(folder / file), reason))
            photos.setdefault(left_out[-1].sha256, Photo(file, Path(file).parent.name, ""))
    predictions = results.of_models("predictions") if len(results.table("compare")) else {}
    queues = [*_list_queues(results, predictions), Queue(LEFT_OUT, "Left out, with the reason", left_out)]
    described: dict[str, list[str]] = {}
    for row in _locate(results, results.table("label_issues")):
        words = f"P({row['given_label']}) {row['label_quality']:.3f} by a model that was not trained on this photo"
        described.setdefault(row["sha256"], []).append(words)
    for model, table in predictions.items():
        for row in _locate(results, table):
            words = f"{model}: {row['predicted']} {row['probability']:.3f}"
            described.setdefault(row["sha256"], []).append(words)
    return Album(photos, described, [queue for queue in queues if queue.items])


def _locate(results: Results, table: pd.DataFrame) -> list[Row]:
    """The rows of a table with the sha256 of their photo, without photos that the dataset no longer contains."""
    sha256 = results.sha256
    return [row | {"sha256": sha256[row["file"]]} for row in table.to_dict("records") if row["file"] in sha256]


def _list_queues(results: Results, predictions: Mapping[str, pd.DataFrame]) -> Iterator[Queue]:
    issues = results.issues
    words, rows = (
        "A model that was not trained on it predicts",
        label_issues.select_issues(results.table("label_issues")),
    )
    yield Queue("label-issues", "Label issues", _suggest(words, "predicted_label", _locate(results, rows)))
    for key, place, pairs in findings.group_pairs(issues):
        yield Queue(key, f"Duplicates {place}", [*_compare(results.sha256, _locate(results, pairs))])
    outliers = {
        row["sha256"]: Item(row["sha256"], f"It is an outlier: {row['detail']}.")
        for row in _locate(results, issues[issues["kind"] == "outlier"])
    }
    unknown = results.of_models("unknown").get(results.best, pd.DataFrame()) if predictions else pd.DataFrame()
    for row in _locate(results, unknown.sort_values("ood_score", ascending=False) if len(unknown) else unknown):
        if row["unknown"]:
            outliers.setdefault(row["sha256"], Item(row["sha256"], "The best model flags it as unknown."))
    yield Queue("unknown", "Outliers and unknown photos", [*outliers.values()])
    yield Queue("quality", "Dark or blurry", _list_quality(_locate(results, issues[issues["kind"].isin(QUALITY)])))
    if predictions:
        rows = thumbnails.sort_mistakes(predictions[results.best])
        mistakes = _suggest("The best model predicts", "predicted", _locate(results, rows))
        yield Queue("mistakes", "Confident mistakes", mistakes)


def _suggest(words: str, column: str, rows: Sequence[Row]) -> list[Item]:
    return [Item(row["sha256"], f"{words} {row[column]}.", row[column]) for row in rows]


def _compare(sha256: Mapping[str, str], pairs: Sequence[Row]) -> Iterator[Item]:
    """Both photos of each pair, each beside the other one."""
    for row in pairs:
        first, second = row["sha256"], sha256.get(row["other_file"])
        if second == first:
            yield Item(first, f"The same file as {row['other_file']}: a decision holds for both.")
        elif second:
            yield Item(first, f"{row['detail']}: {row['other_file']} ({row['other_split']})", other=second)
            yield Item(second, f"{row['detail']}: {row['file']} ({row['split']})", other=first)


def _list_quality(rows: Sequence[Row]) -> list[Item]:
    """The darkest and the blurriest photos first; the rows of each kind are sorted."""
    kinds: dict[str, list[str]] = {}
    ranks: dict[str, int] = {}
    for kind in QUALITY:
        for rank, row in enumerate(row for row in rows if row["kind"] == kind):
            kinds.setdefault(row["sha256"], []).append(kind)
            ranks[row["sha256"]] = min(rank, ranks.get(row["sha256"], rank))
    return [Item(sha256, f"It is {' and '.join(kinds[sha256])}.") for sha256 in sorted(ranks, key=lambda s: ranks[s])]
