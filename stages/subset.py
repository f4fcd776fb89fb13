"""8.2.2  Copy photos of each class to training, validation and test folders (listing 8.6). Argument: from where."""

import sys
from dataclasses import replace
from pathlib import Path

from smallset.datasets import changes, prepare, sources
from smallset.pipeline import files, progress, stage, text

SUBSET = Path("data/subset")
RECORD = Path("metrics/subset.json")


def main() -> None:
    p = stage.load_params()
    raw = Path(*sys.argv[1:] or ["data/raw"])
    table = raw / sources.TABLE
    dataset, record = prepare.prepare(raw, table if table.is_file() else None, p.subset, p.seed)
    names = dataset.table["split"] + "/" + dataset.table["file"].str.removeprefix(f"{raw}/")
    with files.atomic_write(SUBSET) as draft:
        for path, name in progress.bar(zip(dataset.paths, names, strict=True), total=len(names), what="copying"):
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            files.copy(path, draft / name)
    replace(dataset, table=dataset.table.assign(file=f"{SUBSET}/" + names)).write()
    files.write_json(RECORD, record)
    print(prepare.describe(record, RECORD))
    print(text.lines(changes.since_commit(dataset.table)))


stage.run(main)
