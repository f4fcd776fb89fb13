"""8.2.2  Copy photos of each class to training, validation and test folders (listing 8.6). Argument: from where."""

import sys
from pathlib import Path

from smallset.pipeline import changes, names, stage
from smallset.sources import corrections, splits
from smallset.storage import files

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
METRICS = Path("metrics/subset.json")


def main() -> None:
    p = stage.load_params()
    raw, decided = Path(sys.argv[1]), corrections.read(corrections.FILE)
    with files.whole(SUBSET) as draft:
        record = splits.copy_subset(raw, draft, p.subset, p.seed, decided)
        listed = splits.listed(draft, raw, record)
    for split, table in listed.items():
        files.write_csv(LISTS / f"{split}.csv", table)
    files.write_json(METRICS, record)
    print(names.lines("\n".join([splits.summary(record), *corrections.said(decided, raw, record, listed)])))
    print(names.lines(changes.since_commit(LISTS, listed)))


stage.run(main)
