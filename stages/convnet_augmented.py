"""8.2.5  Train the convnet on augmented photos, with dropout (listings 8.14-8.17)."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

from functools import partial
from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.images import batches
from smallset.models import convnets, precision
from smallset.pipeline import stage
from smallset.training import fitting


def main() -> None:
    p = stage.load_params()
    precision.prepare(p.seed, p.precision)
    dataset, output = Dataset.read(), Path("models/convnet_augmented.keras")
    network = convnets.convnet(p.image_size, len(dataset.classes), p.convnet_augmented)
    load = partial(batches.load, image_size=p.image_size, augment=p.augmentation)
    run = fitting.Run(p.seed, stage.checkpoint(output), Path("metrics/convnet_augmented/history.csv"))
    fitted = fitting.fit(network, load, dataset.train, dataset.validation, p.convnet_augmented, run)
    fitting.save(network, fitted, dataset, run, output)


stage.run(main)
