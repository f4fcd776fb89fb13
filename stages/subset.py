"""8.2.2  Copy photos of each class to training, validation and test folders (listing 8.6). Argument: from where."""

import sys
from pathlib import Path

from smallset.datasets import corrections, splits
from smallset.evaluation import changes
from smallset.pipeline import files, stage, text

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
METRICS = Path("metrics/subset.json")


def main() -> None:
    p = stage.load_params()
    raw, decided = Path(sys.argv[1]), corrections.read(corrections.FILE)
    with files.atomic_write(SUBSET) as draft:
        record = splits.copy_subset(raw, draft, p.subset, p.seed, decided)
        listed = splits.listed(draft, raw, record)
    for split, table in listed.items():
        files.write_csv(LISTS / f"{split}.csv", table)
    files.write_json(METRICS, record)
    print(text.lines("\n".join([splits.summary(record), *corrections.said(decided, raw, record, listed)])))
    print(text.lines(changes.since_commit(LISTS, listed)))


stage.run(main)
