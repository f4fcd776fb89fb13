"""8.3    Find photos whose label may be wrong."""

from pathlib import Path

from smallset import caches, files, photos, plots, stage, suspects

SUBSET = Path("data/subset")
FEATURES = Path("data/features/photos")
TABLE = Path("metrics/suspects.csv")
PICTURE = Path("plots/suspects.png")


def main() -> None:
    p = stage.load_params()
    cached = {
        split: caches.read(FEATURES / f"{split}.npy", photos.find(SUBSET / split)) for split in ("train", "validation")
    }
    table = suspects.find(cached, p.seed)
    files.write_csv(TABLE, table)
    plots.save(plots.suspects(table, SUBSET), PICTURE)


stage.run(main)
