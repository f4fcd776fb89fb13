"""8.2.2  Copy photos of each class to training, validation and test folders (listing 8.6). Argument: from where."""

import sys
from pathlib import Path

from smallset import files, splits, stage

SUBSET = Path("data/subset")
METRICS = Path("metrics/subset.json")


def main() -> None:
    p = stage.load_params()
    with files.whole(SUBSET) as draft:
        record = splits.copy_subset(Path(sys.argv[1]), draft, p.subset, p.seed)
    files.write_json(METRICS, record)


stage.run(main)
