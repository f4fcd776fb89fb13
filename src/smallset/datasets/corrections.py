"""What people have decided about photos: corrections.csv, which `subset` applies. The photos themselves never change.

A decision is about a photo's bytes: it holds under any name, and in any folder.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pandas as pd

from smallset.datasets import names
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError

FILE = Path("corrections.csv")
KEEP, RELABEL, LEAVE_OUT = "keep", "relabel", "leave out"
REASON = "left out in corrections.csv"  # in the list of photos that are left out
MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")  # that git leaves where two sides meet


class Correction(NamedTuple):
    """One row of the file; all are text."""

    digest: str  # sha256 of the photo's bytes, as in metrics/subset/*.csv
    file: str  # what it was called then, for people
    decision: str  # keep: it is right as it is | relabel | leave out
    label: str  # the class that it is given; "" but for relabel
    when: str  # UTC, as 2026-01-31T12:00:00Z; of two decisions the later one holds
    queue: str  # where on the page it was decided


Corrections = dict[str, Correction]  # by digest
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
HEADER = ",".join(Correction._fields) + "\n"


def read(path: Path) -> Corrections:
    """The decisions by digest, in its order; none where there is no file. Of two about a photo, the later one holds.

    git puts the rows of both branches into the file, as .gitattributes says. SmallsetError names the line of a fault,
    and the cure.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")  # a spreadsheet may put a mark before it
    except UnicodeDecodeError:
        raise SmallsetError(f"{path}: expected UTF-8. Save it so, or take it from git: git checkout {path}") from None
    found: Corrections = {}
    for line, row in rows(path, text):
        known = found.setdefault(row.digest, row)
        alike = (known.decision, known.label) == (row.decision, row.label)
        if not alike and (known.when == row.when or not all(re.fullmatch(TIME, one.when) for one in (known, row))):
            words = f"{row.file} is decided twice, not alike, and no time tells which is later. Take one row away."
            raise broken(path, line, words)
        found[row.digest] = max(known, row, key=lambda one: (one.when, one))
    return dict(sorted(found.items()))


def rows(path: Path, text: str) -> Iterator[tuple[int, Correction]]:
    """The rows with the lines that they end on. Columns may be in any order; a merge may leave their names twice."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(MARKS):
            raise broken(path, number, f"a merge left {line[:7]} there. Keep the rows of both sides without the marks.")
    reader, columns = csv.reader(io.StringIO(text, newline=""), strict=True), [""]
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if sorted(cells) == sorted(Correction._fields):
                columns = cells
            elif columns == [""]:
                raise broken(path, 1, f"expected the columns {HEADER.strip()}; found {','.join(cells)}. Mend the line.")
            elif any(cells):
                yield reader.line_num, checked(path, reader.line_num, cells, columns)
    except csv.Error as error:
        raise broken(path, reader.line_num, f"{error}. Mend the line, or take it away.") from None


def checked(path: Path, line: int, cells: list[str], columns: list[str]) -> Correction:
    """A row, if it is one."""
    if len(cells) != len(columns):
        raise broken(path, line, f"expected {len(columns)} cells, found {len(cells)}. Mend the line.")
    row = Correction(**dict(zip(columns, cells, strict=True)))
    row = row._replace(label=unicodedata.normalize("NFC", row.label))
    if not re.fullmatch(r"[0-9a-f]{64}", row.digest):
        raise broken(path, line, f"expected a digest of 64 hex digits, found {row.digest!r}. Take the line away.")
    if row.decision not in (KEEP, RELABEL, LEAVE_OUT):
        raise broken(
            path, line, f"expected {KEEP}, {RELABEL} or {LEAVE_OUT}, found {row.decision!r}. Write one of them."
        )
    if (row.decision == RELABEL) != bool(row.label):
        raise broken(path, line, f"a label goes with {RELABEL}, and with nothing else. Mend the line.")
    if row.label and not names.usable(row.label):
        raise broken(path, line, f"the label {row.label!r} cannot be the name of a folder. Choose another.")
    return row


def broken(path: Path, line: int, words: str) -> SmallsetError:
    """The error about a line."""
    return SmallsetError(f"{path}: line {line}: {text.visible(words)}")


def write(path: Path, found: Mapping[str, Correction]) -> None:
    """Write the file, whole, by digest: where two branches decide, git seldom finds both at one place."""
    text = HEADER + "".join(line(found[digest]) for digest in sorted(found))
    with files.atomic_write(path) as draft:
        draft.write_bytes(text.encode())


@lru_cache(100_000)  # with each decision, all are written
def line(one: Correction) -> str:
    """The line of a row.

    What is for people alone is written as it can be seen: a line end in a photo's name is none of the file.
    """
    row = (one.digest, text.visible(one.file), *one[2:5], text.visible(one.queue))
    text: str = csv.writer(SimpleNamespace(write=str), lineterminator="\n").writerow(row)
    return text


def apply(found: Corrections, raw: Path, table: pd.DataFrame, others: Iterable[str]) -> pd.DataFrame:
    """The photos of the splits as they are decided: their labels, their `place` (<class>/<name>), or `out`: left out.

    table: file, label, split of each, the files below `raw`; others: all files there. A photo's split stays: it was
    drawn before, whatever is decided. A photo with another label keeps its name, unless a photo of that class has it.
    """
    table = table.assign(place=table["file"], out=False)
    if not found:
        return table
    called: list[str] = table["file"].tolist()
    digests = table["digest"].tolist() if "digest" in table else [files.sha256(raw / file) for file in called]
    decided = [found.get(digest) for digest in digests]
    labels = [one.label if one and one.label else label for one, label in zip(decided, table["label"], strict=True)]
    given = dict(zip(called, labels, strict=True))
    own = pd.DataFrame({"source": [*others]})
    own["label"] = [given.get(file, file.partition("/")[0]) for file in own["source"]]
    # Those that stay come first, so that none that is added has the name of one.
    own = own.loc[(own["label"] != own["source"].str.partition("/")[0]).sort_values(kind="stable").index]
    place = dict(zip(own["source"], names.places(own), strict=True))
    moved = table["label"] != labels
    return table.assign(
        label=labels,
        place=[place[file] if new else file for file, new in zip(called, moved, strict=True)],
        out=[one is not None and one.decision == LEAVE_OUT for one in decided],
    )


def check(found: Corrections, classes: Iterable[str]) -> None:
    """SmallsetError for a label that differs from a class only in case: some systems would make one folder of both."""
    given = {one.label: one.file for one in found.values() if one.label}
    spelt = Counter(names.same(label) for label in {*classes, *given})
    for label, file in given.items():
        if spelt[names.same(label)] > 1:
            raise SmallsetError(f"{FILE}: {label} ({file}) is another class in other letters. Write them alike.")


def record(table: pd.DataFrame) -> dict[str, Any]:
    """What `apply` has changed, for metrics/subset.json: nothing where it has changed nothing."""
    moved = table[(table["place"] != table["file"]) & ~table["out"]]
    if moved.empty and not table["out"].any():
        return {}
    changes = {"relabelled": moved, "left_out": table[table["out"]]}
    counts = {
        split: {name: int((rows["split"] == split).sum()) for name, rows in changes.items()}
        for split in ("train", "validation", "test")
    }
    return {"corrections": {"photos": counts, "relabelled": dict(zip(moved["place"], moved["file"], strict=True))}}


def sources(record: Mapping[str, Any]) -> dict[str, str]:
    """Of each photo with another label, by its place, which file it is."""
    found: dict[str, str] = record.get("corrections", {}).get("relabelled", {})
    return found


def said(found: Corrections, raw: Path, record: Mapping[str, Any], listed: Mapping[str, pd.DataFrame]) -> list[str]:
    """How many corrections were applied and how many were not, and new classes; nothing where none was decided."""
    if not found:
        return []
    out = {files.sha256(raw / file) for file, reason in record["left_out"].items() if reason == REASON}
    present = out.union(*(table["digest"] for table in listed.values()))
    counts = Counter(one.decision for digest, one in found.items() if digest in present)
    absent = len(found) - counts.total()
    parts = [f"{counts[RELABEL]} relabelled", f"{counts[LEAVE_OUT]} left out", f"{counts[KEEP]} kept as they are"]
    gone = f"; {absent} of photos that are not in the splits any more" if absent else ""
    known = {path.name for path in raw.iterdir() if path.is_dir()}
    new = sorted({place.partition("/")[0] for place in sources(record)} - known)
    fresh = [f"New classes by {FILE}: {', '.join(new)}"] if new else []
    return [f"{FILE}: {', '.join(parts)}{gone}", *fresh]
