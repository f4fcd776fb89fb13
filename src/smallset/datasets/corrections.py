"""People's decisions about photos: corrections.csv, which the split stage joins with the table of photos.

A decision is about the bytes of a photo, so it holds under any name and in any folder. The photo itself never changes.
"""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd

from smallset.datasets import names, scan
from smallset.datasets.dataset import SPLITS, Dataset
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError

FILE = Path("corrections.csv")
DECISIONS = KEEP, RELABEL, LEAVE_OUT = "keep", "relabel", "leave out"
REASON = f"left out in {FILE}"
SHA256 = r"[0-9a-f]{64}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


class Correction(NamedTuple):
    """One row of the file."""

    sha256: str  # of the photo's bytes
    file: str  # its path at that time, for people
    decision: str  # KEEP: the label is right | RELABEL | LEAVE_OUT
    label: str  # the new label; "" unless the decision is RELABEL
    when: str  # UTC, as 2026-01-31T12:00:00Z; of two decisions the later one holds
    queue: str  # the list on the review page where it was decided


Corrections = dict[str, Correction]  # by sha256
Summary = dict[str, dict[str, int]]  # split -> {relabeled, left_out}; empty if nothing was changed
HEADER = ",".join(Correction._fields)


def read(path: Path) -> Corrections:
    """Read the decisions, the later one of two about the same photo; none if there is no file.

    Columns may be in any order. A merge in git keeps the rows of both branches, see .gitattributes, and perhaps both
    headers. A SmallsetError names the line and the fix.
    """
    if not path.is_file():
        return {}
    corrections: Corrections = {}
    columns: Sequence[str] = ()
    with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte order mark
        reader = csv.reader(file, strict=True)
        try:
            for cells in reader:
                header = [{"digest": "sha256"}.get(cell.strip(), cell.strip()) for cell in cells]  # its name in 0.2.0
                if sorted(header) == sorted(Correction._fields):
                    columns = header
                elif any(header) or not columns:
                    row = _read_row(cells, columns)
                    corrections[row.sha256] = _choose_later(corrections.get(row.sha256, row), row)
        except (csv.Error, ValueError) as error:
            place = f"{path}: line {max(1, reader.line_num)}"
            fix = f"Correct or remove the line and save the file as UTF-8, or restore it: git checkout {path}"
            raise SmallsetError(f"{place}: {text.visible(str(error))}. {fix}") from None
    return dict(sorted(corrections.items()))


def _read_row(cells: Sequence[str], columns: Sequence[str]) -> Correction:
    """A row of the file; ValueError says what is wrong with it."""
    if not columns:
        raise ValueError(f"expected the columns {HEADER}; found {','.join(cells)}")
    if len(cells) != len(columns):
        conflict = "of a conflict in git, remove only the marks"
        raise ValueError(f"expected {len(columns)} cells, found {len(cells)}: {','.join(cells)}; {conflict}")
    row = Correction(**{column: cell.strip() for column, cell in zip(columns, cells, strict=True)})
    row = row._replace(label=unicodedata.normalize("NFC", row.label))
    if not re.fullmatch(SHA256, row.sha256):
        raise ValueError(f"expected a sha256 of 64 hex digits, found {row.sha256!r}")
    if row.decision not in DECISIONS:
        raise ValueError(f"expected {', '.join(DECISIONS)}, found {row.decision!r}")
    if (row.decision == RELABEL) != bool(row.label):
        raise ValueError(f"expected a label with {RELABEL}, and only there")
    if row.label and not names.is_usable_label(row.label):
        raise ValueError(f"the label {row.label!r} cannot be a folder")
    return row


def _choose_later(first: Correction, second: Correction) -> Correction:
    """The later of two decisions about a photo; ValueError when they differ and it is not clear which one is later."""
    times = {first.when, second.when}
    unclear = len(times) == 1 or not all(re.fullmatch(TIME, when) for when in times)
    if unclear and (first.decision, first.label) != (second.decision, second.label):
        raise ValueError(f"{second.file} has two different decisions, and `when` does not tell which is later")
    return max(first, second, key=lambda row: (row.when, row))


def write(path: Path, corrections: Mapping[str, Correction]) -> None:
    """Write the file, sorted by sha256, so that git seldom finds a conflict between two branches."""
    files.write_text(path, f"{HEADER}\n" + "".join(line(corrections[sha256]) for sha256 in sorted(corrections)))


@lru_cache(100_000)  # every decision on the review page writes all rows
def line(row: Correction) -> str:
    """One line of the file; a line end in the name of a photo is written as an escape."""
    row = row._replace(file=text.visible(row.file), queue=text.visible(row.queue))
    formatted: str = csv.writer(SimpleNamespace(write=str), lineterminator="\n").writerow(row)
    return formatted


def follow_renames(
    corrections: Mapping[str, Correction], dataset: Dataset, before: Mapping[str, str], earlier: Mapping[str, str]
) -> tuple[Corrections, list[str]]:
    """Give relabeled photos the new name of a class that was renamed since the decision; and notes.

    The new name is the one that the other photos of the old class have now, or that the last run gave to this photo. A
    class that no such photo names is a new class.

    Args:
        corrections: The decisions.
        dataset: The photos with the labels of their folders or table.
        before: The label of each photo in the last run, by its sha256.
        earlier: The label that the decisions gave to a photo at the time of that run, likewise.
    """
    now = dict(zip(dataset.sha256, dataset.table["label"], strict=True))
    relabeled = {key: row.label for key, row in corrections.items() if row.label}
    names, notes = dict[str, str](), []
    for old in sorted({*relabeled.values()} - {*dataset.classes}):
        moved = {now[key] for key, label in before.items() if label == old and key in now and key not in relabeled}
        moved |= {now[key] for key, row in corrections.items() if Path(row.file).parent.name == old and key in now}
        resolved = {before.get(key, old) for key, label in relabeled.items() if label == old == earlier.get(key)}
        if len(new := (moved | resolved) & {*dataset.classes}) == 1:
            names[old] = new.pop()
            count = sum(label == old for label in relabeled.values())
            notes.append(
                f"{FILE}: {count:,} relabeled as {old}, now called {names[old]}, which they follow. Replace "
                f"the name in the file before you use it for another class."
            )
    return {key: row._replace(label=names.get(row.label, row.label)) for key, row in corrections.items()}, notes


def apply(dataset: Dataset, corrections: Mapping[str, Correction]) -> tuple[Dataset, Summary]:
    """Join a dataset with the decisions: labels change, and photos are left out. No file and no split changes."""
    if not corrections:
        return dataset, {}
    sha256, old = dataset.table["sha256"], dataset.table["label"]
    new = {row.sha256: row.label for row in corrections.values() if row.label}
    labels = pd.Series([new.get(key, label) for key, label in zip(sha256, old, strict=True)], old.index, dtype=object)
    out = sha256.isin([row.sha256 for row in corrections.values() if row.decision == LEAVE_OUT])
    changes = pd.DataFrame({"relabeled": (old != labels) & ~out, "left_out": out})
    counts: Any = changes.groupby(dataset.table["split"]).sum().reindex(SPLITS, fill_value=0).to_dict("index")
    table = dataset.table.assign(label=labels)[~out].reset_index(drop=True)
    changed = replace(dataset, table=table, classes=tuple(sorted({*table["label"]})))
    return changed, counts if changes.any(axis=None) else {}


def describe(dataset: Dataset, corrections: Mapping[str, Correction]) -> list[str]:
    """Sentences on the decisions about the photos of a dataset, before `apply`; none if there are no decisions."""
    if not corrections:
        return []
    rows = [corrections[sha256] for sha256 in {*dataset.sha256} & corrections.keys()]
    counts, absent = Counter(row.decision for row in rows), len(corrections) - len(rows)
    lines = [f"{FILE}: {counts[RELABEL]:,} relabeled, {counts[LEAVE_OUT]:,} left out, {counts[KEEP]:,} kept"]
    if absent:
        lines[0] += f"; {absent:,} are about photos that are not in the dataset"
    if new := sorted({row.label for row in rows if row.label} - {*dataset.classes}):
        shown = scan.some(new, text.LISTED)
        lines.append(f"New classes in {FILE}: {shown}. If one is the old name of a class, replace it there.")
    return lines


def check(corrections: Mapping[str, Correction], classes: Iterable[str]) -> None:
    """SmallsetError when labels differ only in case, because some systems treat them as the same folder."""
    labels = {row.label: row.file for row in corrections.values() if row.label}
    spellings = Counter(names.normalize(label) for label in {*classes, *labels})
    for label, file in labels.items():
        if spellings[names.normalize(label)] > 1:
            raise SmallsetError(f"{FILE}: the label {label} ({file}) also occurs in another spelling. Use only one.")
