"""python tests/clustered.py JOB FOLDER [FAULT]: a driver for test_cluster, which does a job and may make something die.

Jobs: extract, predict, seeds, here (all of them). Faults, once, in the middle: worker, node, driver.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
from networks import limited
from pipelines import short

from smallset.cli import remote_files, shards
from smallset.cli.prediction import PLAIN
from smallset.datasets import lists
from smallset.features import caches, extraction
from smallset.images import augmentation, batches
from smallset.models import precision
from smallset.pipeline import cluster, params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.training import seeds

P = short(params.HeadTraining, units=4, dropout=0.5)


def photos(folder: Path) -> lists.Photos:
    return lists.digested(lists.find(folder.parent / "photos"))


def extract(folder: Path) -> None:
    """Two views of each photo, in shards of 4."""
    extraction.SHARD = 4
    precision.prepare(0, "auto")
    inputs = keras.Input((32, 32, 3))
    trunk = keras.Model(inputs, keras.layers.Conv2D(8, 5, strides=3)(inputs / 255), name="trunk")
    turned = augmentation.view(params.read(Path(__file__).parents[1] / "params.yaml").augmentation, 32, 0, 0)
    wanted = {folder / "train.npy": extraction.PLAIN, folder / "views/train.npy": [turned, augmentation.mirror]}
    extraction.from_photos(trunk, photos(folder), wanted, Checkpoint(folder / ".part.train.npz", "one"))


def predict(folder: Path) -> None:
    """Labels, in shards of 4; the first run makes the model."""
    shards.LENGTH = 4
    model = folder.parent / "model.keras"
    if not model.exists():
        limited(model, photos(folder))
    source, output = remote_files.place(str(folder.parent / "photos")), remote_files.place(str(folder / "labels"))
    shards.label(model, remote_files.find(source), output, PLAIN)


def opened(path: Path, _: Checkpoint) -> tuple[seeds.Plan, caches.Cache]:
    """A head on a cache that a job `extract` has made."""
    found = photos(path.parent)
    cache = caches.read(path, found)
    return seeds.of_head(caches.Data(cache, cache, batches.pixels(found, 8)), P), cache


def seeds(folder: Path) -> None:
    precision.prepare(0, "auto")
    checkpoint = Checkpoint(folder / ".part.seeds.npz", "one")
    found = seeds.shared(partial(opened, folder.parent / "extract-here/train.npy"), range(5, 9), checkpoint)
    np.save(folder / "seeds.npy", found)
    checkpoint.remove()


def here(folder: Path) -> None:
    """The jobs, each in a folder of its own."""
    for job in (predict, extract, seeds):  # predict chooses no precision, and the others do
        own = folder.parent / f"{job.__name__}-here"
        own.mkdir()
        job(own)


def faulty(setup: Callable[[], Callable[[Any], Any]], marker: Path, whom: str) -> Callable[[Any], Any]:
    """What setup() gives, but one item kills its worker, or all processes of the node that is not the head's."""
    work, own = setup(), psutil.Process()
    start = own.parent().parent()
    at_head = "gcs_server" in {process.name() for process in start.children()}

    def careless(item: Any) -> Any:
        while whom == "node" and at_head and not marker.exists():
            time.sleep(0.1)
        if not marker.exists():
            marker.touch()
            victims = [start, *start.children(recursive=True)] if whom == "node" else []
            for process in [*(victim for victim in victims if victim != own), own]:
                process.kill()
        return work(item)

    return careless


def disturb(folder: Path, whom: str) -> None:
    """Let `cluster.results` have that fault."""
    undisturbed = cluster.results

    def disturbed(setup: cluster.Setup, items: Any, *rest: Any) -> Iterator[Any]:
        if whom != "driver":
            setup = partial(faulty, setup, folder / f".part.{whom}", whom)
        for number, result in enumerate(undisturbed(setup, items, *rest)):
            if whom == "driver" and number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield result

    cluster.results = disturbed  # type: ignore[assignment]


if __name__ == "__main__":
    job, folder, *fault = sys.argv[1:]
    if fault:
        disturb(Path(folder), fault[0])
    Path(folder).mkdir(exist_ok=True)
    globals()[job](Path(folder))
