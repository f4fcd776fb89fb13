"""People's decisions about photos: corrections.csv, which the split stage joins with the table of photos.

A decision is about the bytes of a photo, so it holds under any name and in any folder. The photo itself never changes.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pandas as pd

from smallset.datasets import names
from smallset.datasets.dataset import SPLITS, Dataset
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError

FILE = Path("corrections.csv")
DECISIONS = KEEP, RELABEL, LEAVE_OUT = "keep", "relabel", "leave out"
REASON = f"left out in {FILE}"
CONFLICTS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")  # git's marks
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

    A merge in git keeps the rows of both branches, see .gitattributes. A SmallsetError names the line and the fix.
    """
    if not path.is_file():
        return {}
    try:
        content = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError:
        raise SmallsetError(f"{path}: expected UTF-8. Save it as UTF-8, or restore it: git checkout {path}") from None
    corrections: Corrections = {}
    for line, row in _read_rows(path, content):
        other = corrections.setdefault(row.sha256, row)
        differ = (other.decision, other.label) != (row.decision, row.label)
        if differ and (other.when == row.when or not all(re.fullmatch(TIME, when) for when in (other.when, row.when))):
            problem = f"{row.file} has two different decisions, and `when` does not tell which is later. Remove a row."
            raise _error(path, line, problem)
        corrections[row.sha256] = max(other, row, key=lambda correction: (correction.when, correction))
    return dict(sorted(corrections.items()))


def _read_rows(path: Path, content: str) -> Iterator[tuple[int, Correction]]:
    """The rows with their line numbers. Columns may be in any order; after a merge the header may occur twice."""
    for number, line in enumerate(content.split("\n"), 1):
        if line.startswith(CONFLICTS):
            raise _error(path, number, f"found git's mark {line[:7]}. Keep the rows of both sides, without the marks.")
    reader, columns = csv.reader(io.StringIO(content, newline=""), strict=True), list[str]()
    try:
        for raw_cells in reader:
            cells = [cell.strip() for cell in raw_cells]
            header = ["sha256" if cell == "digest" else cell for cell in cells]  # the name in 0.2.0
            if sorted(header) == sorted(Correction._fields):
                columns = header
            elif not columns:
                raise _error(path, 1, f"expected the columns {HEADER}; found {','.join(cells)}. Correct the line.")
            elif any(cells):
                yield reader.line_num, _check_row(path, reader.line_num, cells, columns)
    except csv.Error as error:
        raise _error(path, reader.line_num, f"{error}. Correct the line, or remove it.") from None


def _check_row(path: Path, line: int, cells: list[str], columns: list[str]) -> Correction:
    if len(cells) != len(columns):
        raise _error(path, line, f"expected {len(columns)} cells, found {len(cells)}. Correct it.")
    row = Correction(**dict(zip(columns, cells, strict=True)))
    row = row._replace(label=unicodedata.normalize("NFC", row.label))
    checks = {
        f"expected a sha256 of 64 hex digits, found {row.sha256!r}. Remove it.": re.fullmatch(SHA256, row.sha256),
        f"expected {', '.join(DECISIONS)}, found {row.decision!r}. Correct it.": row.decision in DECISIONS,
        f"expected a label with {RELABEL}, and only there. Correct it.": (row.decision == RELABEL) == bool(row.label),
        f"the label {row.label!r} cannot be a folder. Choose another.": names.is_usable_label(row.label or "-"),
    }
    for problem, valid in checks.items():
        if not valid:
            raise _error(path, line, problem)
    return row


def _error(path: Path, line: int, problem: str) -> SmallsetError:
    return SmallsetError(f"{path}: line {line}: {text.visible(problem)}")


def write(path: Path, corrections: Mapping[str, Correction]) -> None:
    """Write the file, sorted by sha256, so that git seldom finds a conflict between two branches."""
    files.write_text(path, f"{HEADER}\n" + "".join(line(corrections[sha256]) for sha256 in sorted(corrections)))


@lru_cache(100_000)  # every decision on the review page writes all rows
def line(row: Correction) -> str:
    """One line of the file; a line end in the name of a photo is written as an escape."""
    row = row._replace(file=text.visible(row.file), queue=text.visible(row.queue))
    formatted: str = csv.writer(SimpleNamespace(write=str), lineterminator="\n").writerow(row)
    return formatted


def apply(dataset: Dataset, corrections: Mapping[str, Correction]) -> tuple[Dataset, Summary]:
    """Join a dataset with the decisions: labels change, and photos are left out. No file and no split changes."""
    if not corrections:
        return dataset, {}
    sha256, old = dataset.table["sha256"], dataset.table["label"]
    new = {row.sha256: row.label for row in corrections.values() if row.label}
    labels = pd.Series([new.get(key, label) for key, label in zip(sha256, old, strict=True)], old.index, dtype=object)
    out = sha256.isin([row.sha256 for row in corrections.values() if row.decision == LEAVE_OUT])
    counts = {"relabeled": (old != labels) & ~out, "left_out": out}
    summary = {
        split: {name: int((mask & (dataset.table["split"] == split)).sum()) for name, mask in counts.items()}
        for split in SPLITS
    }
    table = dataset.table.assign(label=labels)[~out].reset_index(drop=True)
    changed = replace(dataset, table=table, classes=tuple(sorted({*table["label"]})))
    return changed, summary if any(mask.any() for mask in counts.values()) else {}


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
        lines.append(f"New classes in {FILE}: {', '.join(new)}")
    return lines


def check(corrections: Mapping[str, Correction], classes: Iterable[str]) -> None:
    """SmallsetError when labels differ only in case, because some systems treat them as the same folder."""
    labels = {row.label: row.file for row in corrections.values() if row.label}
    spellings = Counter(names.normalize(label) for label in {*classes, *labels})
    for label, file in labels.items():
        if spellings[names.normalize(label)] > 1:
            raise SmallsetError(f"{FILE}: the label {label} ({file}) also occurs in another spelling. Use only one.")
