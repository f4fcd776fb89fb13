"""What is worth a look, by the tables that the pipeline's stages have left: queues of photos, the most useful first."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from smallset.datasets import corrections, lists
from smallset.evaluation import changes, comparison, diff
from smallset.pipeline import files
from smallset.reports import results

LEFT_OUT, DECIDED, CLASS = "left-out", "decided", "class:"  # keys of queues that show what is decided, too
FLAGS = ("dark", "blurred")  # of the audit
Row = dict[Any, Any]


class Photo(NamedTuple):
    """One photo; files of the same bytes are one."""

    file: str  # <class>/<name>
    label: str
    split: str  # "" for none


class Item(NamedTuple):
    """A photo in a queue."""

    digest: str
    why: str
    label: str = ""  # what a model says in place of its own
    beside: str = ""  # the digest of a photo to compare it with


class Queue(NamedTuple):
    """Photos with one question."""

    key: str
    title: str
    items: list[Item]


@dataclass(frozen=True)
class Album:
    """All photos of the pipeline by digest, what the models say of each, and the queues that there are."""

    photos: dict[str, Photo]
    says: dict[str, list[str]]
    queues: list[Queue]
    subset: Path  # the folder of the splits
    raw: Path  # that of all photos

    def path(self, photo: Photo) -> Path:
        """Where it is."""
        return self.subset / photo.split / photo.file if photo.split else self.raw / photo.file

    @property
    def classes(self) -> list[str]:
        """Those of the photos in the splits, in order."""
        return sorted({photo.label for photo in self.photos.values() if photo.split})

    def asked(self, key: str, decided: Mapping[str, corrections.Correction]) -> list[Item]:
        """The items of a queue: a question that has been answered is not asked again."""
        if key == DECIDED:
            known = sorted((one.when, digest) for digest, one in decided.items() if digest in self.photos)
            return [Item(digest, f"Decided {when}") for when, digest in known]
        if key.startswith(CLASS):
            label = key.removeprefix(CLASS)
            return [Item(digest, "") for digest, one in self.photos.items() if one.split and one.label == label]
        items = next((queue.items for queue in self.queues if queue.key == key), [])
        return items if key == LEFT_OUT else [one for one in items if not {one.digest, one.beside} & decided.keys()]


def read(metrics: Path, subset: Path, raw: Path) -> Album:
    """The album of a pipeline that has run; SmallsetError where `subset` has not."""
    photos: dict[str, Photo] = {}
    digests: dict[tuple[str, str], str] = {}  # of each split and file
    for split in changes.SPLITS:
        for file, label, digest in lists.rows(metrics / "subset" / f"{split}.csv")[lists.COLUMNS].itertuples(
            index=False
        ):
            photos.setdefault(digest, Photo(file, label, split))
            digests[split, file] = digest
    tables = Tables(metrics, digests)
    queues = [*tables.suspects(), *tables.pairs(), *tables.unlike(), *tables.flagged(), *tables.mistakes()]
    out = left_out(metrics, raw)
    photos = {digest: photo for _, digest, photo in out} | photos
    reasons = [Item(digest, why) for why, digest, _ in out]
    found = [*queues, Queue(LEFT_OUT, "Left out, and why", reasons)]
    return Album(photos, tables.says(), [queue for queue in found if queue.items], subset, raw)


def left_out(metrics: Path, raw: Path) -> list[tuple[str, str, Photo]]:
    """The reason, the digest and the photo of each file that no split has, but for those that are gone."""
    known = json.loads((metrics / "subset.json").read_text(encoding="utf-8"))["left_out"]
    return [
        (why, files.sha256(raw / file), Photo(file, file.partition("/")[0], ""))
        for file, why in known.items()
        if (raw / file).is_file()
    ]


class Tables:
    """The tables below `metrics`, as queues; a row about a photo that the lists do not have any more is none."""

    def __init__(self, metrics: Path, digests: Mapping[tuple[str, str], str]) -> None:
        self.metrics, self.digests = metrics, digests
        self.models = results.table(metrics / "compare.csv")

    def table(self, name: str) -> pd.DataFrame:
        """One of them; empty where a pipeline has not its stage."""
        return results.table(self.metrics / name)

    def rows(self, table: pd.DataFrame, split: str = "") -> Iterator[tuple[str, Row]]:
        """The digest and the row of each photo of a table; split: of those that name none."""
        for row in table.to_dict("records"):
            if digest := self.digests.get((row.get("split", split), row["file"])):
                yield digest, row

    def suspects(self) -> Iterator[Queue]:
        """Labels that a model which has not seen them does not believe, the least believed first."""
        items = [
            Item(digest, f"A model that had not seen it takes it for {row['suspected']}.", row["suspected"])
            for digest, row in self.rows(self.table("suspects.csv"))
            if row["probability"] < diff.DOUBTED
        ]
        yield Queue("suspects", "Labels in doubt", items)

    def pairs(self) -> Iterator[Queue]:
        """Photos alike, by what they cross, each beside the other."""
        titles = ("Alike in two splits", "Alike in two classes", "Alike in one class and split")
        found: dict[str, list[Item]] = {title: [] for title in titles}
        for one, row in self.rows(self.table("audit/pairs.csv")):
            other = self.digests.get((row["other_split"], row["other_file"]))
            if other is None:
                continue
            title = titles[0] if row["crosses_splits"] else titles[1] if row["crosses_classes"] else titles[2]
            names = [f"{row[f'{which}split']}/{row[f'{which}file']}" for which in ("", "other_")]
            if one == other:
                why = f"The same bytes as {names[1]}: what is decided holds for both."
                found[title].append(Item(one, why))
                continue
            found[title].append(Item(one, f"{row['words']} as {names[1]}", beside=other))
            found[title].append(Item(other, f"{row['words']} as {names[0]}", beside=one))
        for key, title in zip(("two-splits", "two-classes", "twice"), titles, strict=True):
            yield Queue(key, title, found[title])

    def unlike(self) -> Iterator[Queue]:
        """Photos unlike all that the best model knows, the least alike first."""
        table = self.of_best("unlike")
        if len(table):
            rows = self.rows(table[table["unlike"] == 1].sort_values("unlikeness", ascending=False, kind="stable"))
            items = [Item(digest, "Unlike all that the model knows.") for digest, _ in rows]
            yield Queue("unlike", "Unlike the others", items)

    def flagged(self) -> Iterator[Queue]:
        """Dark or blurred photos, the worst first."""
        table = self.table("audit/photos.csv")
        if len(table):
            rows = self.rows(worst(table[table[[*FLAGS]].any(axis=1)]))
            items = [Item(digest, f"It is {' and '.join(filter(row.get, FLAGS))}.") for digest, row in rows]
            yield Queue("flagged", "Dark or blurred", items)

    def mistakes(self) -> Iterator[Queue]:
        """Test photos that the best model takes for another class, the surest first."""
        table = self.of_best("predictions")
        if len(table):
            wrong = table[table["actual"] != table["predicted"]]
            rows = self.rows(wrong.sort_values("probability", ascending=False, kind="stable"), "test")
            items = [
                Item(digest, f"The best model takes it for {row['predicted']}.", row["predicted"])
                for digest, row in rows
            ]
            yield Queue("mistakes", "Sure mistakes", items)

    def of_best(self, kind: str) -> pd.DataFrame:
        """A table of the best model; empty where no models were compared."""
        return self.table(f"{comparison.best(self.models)}/{kind}.csv") if len(self.models) else pd.DataFrame()

    def says(self) -> dict[str, list[str]]:
        """What the models say of each photo that they were asked about."""
        found: dict[str, list[str]] = {}
        for digest, row in self.rows(self.table("suspects.csv")):
            found.setdefault(digest, []).append(
                f"P({row['label']}) {row['probability']:.3f} by the labels of the others"
            )
        for model in self.models.get("model", pd.Series(dtype=str)):
            for digest, row in self.rows(self.table(f"{model}/predictions.csv"), "test"):
                found.setdefault(digest, []).append(f"{model}: {row['predicted']} {row['probability']:.3f}")
        return found


def worst(flagged: pd.DataFrame) -> pd.DataFrame:
    """The rows of dark or blurred photos, the darkest and the most blurred before all others."""
    dark = flagged["luminance"].where(flagged["dark"]).rank()
    blurred = flagged["blur"].where(flagged["blurred"]).rank(ascending=False)
    return flagged.loc[pd.concat([dark, blurred], axis=1).min(axis=1).sort_values(kind="stable").index]
