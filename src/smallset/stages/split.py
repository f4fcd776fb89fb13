"""Measure each photo once, assign it to a split, and apply the corrections."""

from pathlib import Path

from smallset.datasets import changes, prepare
from smallset.pipeline import files, stage, text

RECORD = Path("metrics/split.json")


def main(folder: str = "photos") -> None:
    """Write the table metrics/photos.csv and RECORD: counts, photos that are left out and why, corrections, notes."""
    p = stage.load_params()
    table = Path(p.split.table) if p.split.table else None
    dataset, record = prepare.prepare(Path(folder), table, p.split, p.seed)
    dataset.write()
    files.write_json(RECORD, record)
    print(prepare.describe(record, RECORD))
    print(text.lines(changes.since_commit(dataset.table)))
