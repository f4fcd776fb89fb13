"""8.3    Run the base over the test photos, once for the runs of all other seeds."""

from pathlib import Path

from smallset.frozen import caches, extraction
from smallset.networks import runtime, saving
from smallset.photos import lists
from smallset.pipeline import stage
from smallset.storage import backups

TEST = Path("data/subset/test")
LIST = Path("metrics/subset/test.csv")
BASE = Path("models/base")
FEATURES = Path("data/test_features")


def main() -> None:
    p = stage.load_params()
    runtime.prepare(p.seed, p.precision)
    test, top = lists.read(LIST, TEST), saving.load(BASE / "top.keras")
    backup = stage.backup(FEATURES)
    with backups.resumable(FEATURES, backup) as folder:
        for name, base in {"activations": BASE, "larger": BASE / "larger"}.items():
            trunk = saving.load(base / "trunk.keras")
            extraction.from_photos(trunk, test, {folder / f"{name}.npy": extraction.PLAIN}, backup)
        extraction.from_cache(top, caches.read(folder / "activations.npy", test), folder / "features.npy")
    backup.remove()


stage.run(main)
