"""From a folder of photos to the dataset that a pipeline uses, and the record of how it came about."""

import csv
import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from smallset.datasets import corrections, folders, groups, scan, splits
from smallset.datasets.dataset import SPLITS, TABLE, Dataset, Fractions
from smallset.datasets.measure import measure, measure_first
from smallset.pipeline import git, params, text

# photos: {split: {class: count}}, left_out: {file: reason}, copies: {file: the file that counts}, corrections, notes
Record = dict[str, Any]


def prepare(folder: Path, table: Path | None, p: params.Split, seed: int) -> tuple[Dataset, Record]:
    """Read, measure, split and correct the photos of a folder; return them and the record for metrics/split.json.

    The files of the dataset are relative to the current folder.
    """
    result, decisions = scan.scan(folder), corrections.read(corrections.FILE)
    dataset, notes = folders.read_folder(result, table)
    prefix = folder.as_posix()
    dataset = Dataset(dataset.table.assign(file=f"{prefix}/" + dataset.table["file"]), dataset.classes)
    left_out = {f"{prefix}/{path}": reason for path, reason in result.unreadable.items()}
    dataset, excluded = splits.exclude(dataset, p.exclude, prefix)
    dataset, broken = measure_first(dataset, sum(p.shares.values())) if p.by == "count" else measure(dataset)
    if p.by != "count":  # the book counts files
        dataset, merged = groups.merge_copies(dataset)
        notes += merged
    if p.by == "given":
        groups.check_given(dataset.table, "pixels")
    dataset, copies = splits.assign_splits(dataset, p, seed)
    splits.check_complete(dataset, p, seed, prefix)
    decisions, renamed = corrections.follow_renames(decisions, dataset, _committed(TABLE), _committed(corrections.FILE))
    corrections.check(decisions, dataset.classes)
    corrected, summary = corrections.apply(dataset, decisions)
    splits.check_complete(corrected, p, seed, str(corrections.FILE))
    removed = set(dataset.table["file"]) - set(corrected.table["file"])
    classes = {*corrected.classes}
    corrected, untrained = splits.leave_out_untrained(corrected, p)
    corrected, same = groups.count_once(corrected) if p.by != "count" else (corrected, {})
    left_out |= excluded | broken | copies | dict.fromkeys(sorted(removed), corrections.REASON) | untrained
    left_out |= dict.fromkeys(same, groups.COPY)
    notes = [note for note in notes if note not in scan.describe_unreadable(result.unreadable)]  # they are in left_out
    notes += [*renamed, *corrections.describe(dataset, decisions)]
    if untrained:
        lost = sorted(classes - {*corrected.classes})
        notes.append(
            f"Classes that are left out, because no photo of them is in train: {scan.some(lost, splits.NAMED)}"
        )
    counts = splits.count_photos(corrected.table).to_dict()
    record = {"photos": counts, "left_out": left_out, "copies": same, "corrections": summary, "notes": notes}
    return replace(corrected, table=corrected.table.drop(columns="pixels")), record


def _committed(path: Path) -> dict[str, str]:
    """The label of each sha256 in the committed version of a table; empty without one."""
    rows = csv.DictReader(io.StringIO(git.show(path) or ""))
    return {row["sha256"]: row["label"] for row in rows if row.get("sha256") and row.get("label")}


def load(folder: Path, table: Path | None, fractions: Fractions, seed: int) -> Dataset:
    """See `Dataset.from_folder`."""
    unmeasured, _ = folders.read_folder(folder, table)
    has_splits = (unmeasured.table["split"] != "").all()
    shares = dict.fromkeys(SPLITS) if has_splits else dict(zip(SPLITS, fractions, strict=True))
    p = params.Split(by="given" if has_splits else "fraction", **shares, exclude=[])
    dataset, record = prepare(folder, table, p, seed)
    left_out = [f"Left out: {scan.count_reasons(record['left_out'])}."] if record["left_out"] else []
    for note in [*record["notes"], *left_out]:
        warnings.warn(note, stacklevel=3)
    return dataset


def describe(record: Record, path: Path) -> str:
    """The record in a few lines, however many classes there are; `path` is the file with the whole record."""
    counts = pd.DataFrame(record["photos"])
    totals = ", ".join(f"{counts[split].sum():,} {split}" for split in SPLITS)
    words = ", ".join(f"{{{split}:,}} {split}" for split in SPLITS)
    rows = [f"  {label}: {words.format_map(row)}" for label, row in counts.to_dict("index").items()]
    lines = [f"{counts.to_numpy().sum():,} photos of {len(counts):,} classes: {totals}"]
    lines += text.first_lines(rows, f"  and {{}} more classes, see {path}")
    if left_out := record["left_out"]:
        lines.append(f"Left out, see {path}: {scan.count_reasons(left_out)}")
    return "\n".join(map(text.visible, [*lines, *record["notes"], *splits.warn_about_few(counts)]))
