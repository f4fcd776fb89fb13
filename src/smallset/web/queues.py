"""What people should check in the photos, from the tables of a pipeline: queues of photos, the most useful first."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from smallset.datasets.corrections import KEEP, Correction
from smallset.pipeline import files
from smallset.reports import findings, thumbnails
from smallset.reports.results import Results

LEFT_OUT, DECIDED, CLASS = "left-out", "decided", "class:"  # keys of queues that also show decided photos
QUALITY = ("dark", "blurry")  # kinds of issues
MAX_PAIRS = 10  # of confused classes that have queues
RECENT, WORTHWHILE = 30, 3  # the last decisions in a queue, and how many of them change something if it is useful


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


class Album(NamedTuple):
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

    def advise(self, key: str, corrections: Mapping[str, Correction]) -> str:
        """Say that a queue is no longer worth the time, when hardly any of the last decisions changed something."""
        rows = sorted((row for row in corrections.values() if row.queue == key), key=lambda row: row.when)[-RECENT:]
        changes, left = sum(row.decision != KEEP for row in rows), len(self.list_items(key, corrections))
        if len(rows) < RECENT or changes >= WORTHWHILE or not left:
            return ""
        expected = f"At this rate, about {round(changes / RECENT * left)} of the {left} photos left need a change"
        return f"{changes} of the last {RECENT} decisions here changed something. {expected}: go to the next queue."


def read_album(folder: Path) -> Album:
    """Read the tables of a pipeline; SmallsetError when its photos have not been split."""
    results = Results(folder)
    records = results.dataset.table.drop_duplicates("sha256").to_dict("records")
    photos = {row["sha256"]: Photo(row["file"], row["label"], row["split"]) for row in records}
    predictions = results.of_models("predictions") if len(results.table("compare")) else {}
    left_out = Queue(LEFT_OUT, "Left out, with the reason", [])
    for file, reason in results.splits["left_out"].items():
        if (folder / file).is_file():
            left_out.items.append(Item(files.sha256(folder / file), reason))
            photos.setdefault(left_out.items[-1].sha256, Photo(file, Path(file).parent.name, ""))
    quality = "label quality {label_quality:.3f}: the probability that {given_label} is right"
    words = {quality: results.table("label_issues")}
    words |= {f"{model}: {{predicted}} {{probability:.3f}}": table for model, table in predictions.items()}
    described: dict[str, list[str]] = {}
    for line, table in words.items():
        for item in _make_items(_locate(results, table), line):
            described.setdefault(item.sha256, []).append(item.reason)
    shown = [*_list_queues(results, predictions), left_out]
    return Album(photos, described, [queue for queue in shown if queue.items])


def _locate(results: Results, table: pd.DataFrame) -> pd.DataFrame:
    """A table with the sha256 of its photos, without photos that the dataset no longer contains."""
    if "file" not in table:
        return table
    sha256 = results.dataset.table.set_index("file")["sha256"]
    return table.assign(sha256=table["file"].map(sha256)).dropna(subset="sha256")


def _make_items(rows: pd.DataFrame, words: str, suggestion: str = "") -> list[Item]:
    """An item for each row; `words` has names of columns in braces, and `suggestion` is one."""
    records = rows.to_dict("records")
    return [Item(row["sha256"], words.format_map(row), row.get(suggestion, "")) for row in records]


def _list_queues(results: Results, predictions: Mapping[str, pd.DataFrame]) -> Iterator[Queue]:
    issues, labels = _locate(results, results.issues), _locate(results, results.table("label_issues"))
    words = "A model that was not trained on it predicts {predicted_label}."
    yield Queue("label-issues", "Label issues", _make_items(labels, words, "predicted_label"))
    for key, place, pairs in findings.group_pairs(issues):
        yield Queue(key, f"Duplicates {place}", [*_compare(results, pairs)])
    unusual = _make_items(issues[issues["kind"] == "outlier"], "It is an outlier: {detail}.")
    if predictions and results.best in (unknown := results.of_models("unknown")):
        table = unknown[results.best].query("unknown").sort_values("ood_score", ascending=False)
        items = _make_items(_locate(results, table), "The best model flags it as unknown.")
        unusual += [item for item in items if item.sha256 not in {outlier.sha256 for outlier in unusual}]
    yield Queue("unknown", "Outliers and unknown photos", unusual)
    yield Queue("quality", "Dark or blurry", _list_quality(issues[issues["kind"].isin(QUALITY)]))
    if predictions:
        mistakes = _locate(results, thumbnails.sort_mistakes(predictions[results.best]))
        words = "The best model predicts {predicted}."
        yield Queue("mistakes", "Confident mistakes", _make_items(mistakes, words, "predicted"))
        if len(results.dataset.classes) > 2:  # the pairs of classes that the best model confuses most
            for actual, predicted in mistakes.value_counts(["actual", "predicted"]).head(MAX_PAIRS).index:
                rows = mistakes[(mistakes["actual"] == actual) & (mistakes["predicted"] == predicted)]
                title = f"Mistakes: {actual} predicted as {predicted}"
                yield Queue(f"mistakes:{actual}/{predicted}", title, _make_items(rows, words, "predicted"))


def _compare(results: Results, pairs: pd.DataFrame) -> Iterator[Item]:
    """Both photos of each pair, each beside the other one."""
    sha256 = results.dataset.table.set_index("file")["sha256"]
    for row in pairs.to_dict("records"):
        first, second = row["sha256"], sha256.get(row["other_file"])
        if second == first:
            yield Item(first, f"The same file as {row['other_file']}: a decision holds for both.")
        elif second:
            yield Item(first, f"{row['detail']}: {row['other_file']} ({row['other_split']})", other=second)
            yield Item(second, f"{row['detail']}: {row['file']} ({row['split']})", other=first)


def _list_quality(rows: pd.DataFrame) -> list[Item]:
    """The darkest and the blurriest photos first; the rows of each kind are sorted."""
    rows = rows.assign(rank=rows.groupby("kind").cumcount()).sort_values(["rank", "kind"], ascending=[True, False])
    kinds = rows.groupby("sha256", sort=False)["kind"].agg(lambda kinds: " and ".join(sorted({*kinds}, reverse=True)))
    return [Item(str(sha256), f"It is {words}.") for sha256, words in kinds.items()]
