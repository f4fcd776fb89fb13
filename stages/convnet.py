"""8.2.3  Train a small convnet from scratch (listings 8.7-8.11). Argument: the model's name, a key of params.yaml."""

from smallset.pipeline import silent_tensorflow  # noqa: F401  # isort: split

import sys
from functools import partial
from pathlib import Path

from smallset.datasets.dataset import Dataset
from smallset.images import batches
from smallset.models import convnets, precision
from smallset.pipeline import stage
from smallset.training import fitting


def main() -> None:
    name, p = sys.argv[1], stage.load_params()
    precision.prepare(p.seed, p.precision)
    dataset, output = Dataset.read(), Path(f"models/{name}.keras")
    network = convnets.convnet(p.image_size, len(dataset.classes), getattr(p, name))
    load = partial(batches.load, image_size=p.image_size)
    run = fitting.Run(p.seed, stage.checkpoint(output), Path(f"metrics/{name}/history.csv"))
    fitted = fitting.fit(network, load, dataset.train, dataset.validation, getattr(p, name), run)
    fitting.save(network, fitted, dataset, run, output)


stage.run(main)
