"""8.2.2  Get the photos: data/raw/<class>/."""

from pathlib import Path

from smallset.datasets import sources
from smallset.pipeline import files, stage

RAW = Path("data/raw")


def main() -> None:
    p = stage.load_params()
    with files.atomic_write(RAW) as draft:
        draft.mkdir()
        record = sources.fill(draft, p.download, p.seed)
    files.write_json(Path("metrics/download.json"), record)


stage.run(main)
