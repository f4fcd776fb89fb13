"""8.3.1  Run the frozen layers over all photos, and over augmented views of the training photos."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.features import activations
from smallset.images import augmentation
from smallset.models import model_file, precision
from smallset.pipeline import checkpoints, stage

PHOTOS, VIEWS = Path("data/activations/photos"), Path("data/activations/views")


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    frozen, dataset = model_file.open_network(Path("models/backbone/frozen.keras")), Dataset.read()
    numbers, checkpoint = range(p.activations.views), stage.checkpoint(PHOTOS)
    views = [augmentation.view(p.augmentation, p.image_size, p.seed, number) for number in numbers]
    with checkpoints.resumable(PHOTOS, checkpoint) as plain, checkpoints.resumable(VIEWS, checkpoint) as bank:
        for name in ("validation", "test"):
            outputs = {plain / f"{name}.npy": activations.PLAIN}
            activations.from_photos(frozen, dataset.split(name), outputs, checkpoint)
        outputs = {plain / "train.npy": activations.PLAIN, bank / "train.npy": views}
        activations.from_photos(frozen, dataset.train, outputs, checkpoint)
        activations.keep_pixels(plain, dataset.validation, p.image_size)
    checkpoint.remove()


stage.run(main)
