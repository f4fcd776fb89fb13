"""8.2.2  Get the photos: class folders in data/raw."""

from pathlib import Path

from smallset.datasets import filling
from smallset.pipeline import files, stage

RAW = Path("data/raw")
DOWNLOADS = Path("data/downloads")
METRICS = Path("metrics/download.json")


def main() -> None:
    p = stage.load_params()
    with files.atomic_write(RAW) as draft:
        draft.mkdir()
        record = filling.fill(draft, DOWNLOADS, p.download, p.seed)
    files.write_json(METRICS, record)


stage.run(main)
