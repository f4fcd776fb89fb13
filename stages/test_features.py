"""8.3    Run the base over the test photos, once for the runs of all other seeds."""

from pathlib import Path

from smallset.datasets import lists
from smallset.features import caches, extraction
from smallset.models import model_file, precision
from smallset.pipeline import checkpoints, stage

TEST = Path("data/subset/test")
LIST = Path("metrics/subset/test.csv")
BASE = Path("models/base")
FEATURES = Path("data/test_features")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    test, top = lists.read(LIST, TEST), model_file.load(BASE / "top.keras")
    checkpoint = stage.checkpoint(FEATURES)
    with checkpoints.resumable(FEATURES, checkpoint) as folder:
        for name, base in {"activations": BASE, "larger": BASE / "larger"}.items():
            trunk = model_file.load(base / "trunk.keras")
            extraction.from_photos(trunk, test, {folder / f"{name}.npy": extraction.PLAIN}, checkpoint)
        extraction.from_cache(top, caches.read(folder / "activations.npy", test), folder / "features.npy")
    checkpoint.remove()


stage.run(main)
