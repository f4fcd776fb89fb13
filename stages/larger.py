"""8.3+   Run the trunk over larger photos and, for training, their mirror images."""

from pathlib import Path

from smallset.datasets import lists
from smallset.pipeline import checkpoints, params, stage

SUBSET = Path("data/subset")
LISTS = Path("metrics/subset")
TRUNK = Path("models/base/larger/trunk.keras")
LARGER = Path("data/larger")
ROOMS = ("storage", "photos", "networks", "frozen")


def main() -> None:
    p = stage.load_params().only(["seed", "precision", "larger"])
    data = [TRUNK, LISTS / "train.csv", LISTS / "validation.csv"]
    checkpoint = stage.checkpoint(LARGER, p, [*data, *stage.code(ROOMS)])
    if not checkpoints.complete(LARGER, checkpoint):
        fill(p, checkpoint)


def fill(p: params.Params, checkpoint: checkpoints.Checkpoint) -> None:
    from smallset.features import caches, extraction  # with TensorFlow, which takes seconds, mostly for nothing
    from smallset.images import augmentation
    from smallset.models import model_file, precision

    precision.prepare(p.seed, p.precision)
    trunk = model_file.load(TRUNK)
    train, validation = lists.splits(LISTS, SUBSET)
    views = [None, augmentation.mirror] if p.larger.mirror else [None]
    with checkpoints.resumable(LARGER, checkpoint) as folder:
        extraction.from_photos(trunk, validation, {folder / "validation.npy": extraction.PLAIN}, checkpoint)
        extraction.from_photos(trunk, train, {folder / "train.npy": views}, checkpoint)
        caches.keep_pixels(folder, validation, trunk.input_shape[1])


stage.run(main)
