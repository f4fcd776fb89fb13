"""python tests/clustered.py JOB FOLDER [FAULT]: a driver for test_cluster, which does a job and may make something die.

Jobs: extract, predict, seeds, here (all of them) or errors. Faults, once, in the middle: worker, node, driver.
"""

import os
import signal
import socket
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

from smallset.frozen import caches, extraction
from smallset.networks import runtime
from smallset.photos import augmentation, images, lists
from smallset.pipeline import cluster, params, provenance
from smallset.pipeline.errors import SmallsetError
from smallset.storage.backups import Backup
from smallset.tools import sharding
from smallset.tools.prediction import PLAIN
from smallset.training import repeats

P = params.HeadTraining(
    batch=4,
    epochs=2,
    learning_rate=1e-2,
    epsilon=1e-7,
    ema_momentum=None,
    class_weights=None,
    calibrate=False,
    units=4,
    dropout=0.5,
)


def photos(folder: Path) -> lists.Photos:
    return lists.digested(lists.find(folder.parent / "photos"))


def extract(folder: Path) -> None:
    """Two views of each photo, in shards of 4."""
    extraction.SHARD = 4
    runtime.prepare(0, "auto")
    inputs = keras.Input((32, 32, 3))
    trunk = keras.Model(inputs, keras.layers.Conv2D(8, 5, strides=3)(inputs / 255), name="trunk")
    turned = augmentation.view(params.read(Path(__file__).parents[1] / "params.yaml").augmentation, 32, 0, 0)
    wanted = {folder / "train.npy": extraction.PLAIN, folder / "views/train.npy": [turned, augmentation.mirror]}
    extraction.from_photos(trunk, photos(folder), wanted, Backup(folder / ".part.train.npz", "one"))


def predict(folder: Path) -> None:
    """Labels, in shards of 4; the first run makes the model."""
    sharding.LENGTH = 4
    model = folder.parent / "model.keras"
    if not model.exists():
        limited(model, photos(folder))
    sharding.label(model, str(folder.parent / "photos"), str(folder / "labels"), PLAIN)


def opened(path: Path, _: Backup) -> tuple[repeats.Plan, caches.Cache]:
    """A head on a cache that a job `extract` has made."""
    found = photos(path.parent)
    cache = caches.read(path, found)
    return repeats.of_head(caches.Data(cache, cache, images.pixels(found, 8)), P), cache


def seeds(folder: Path) -> None:
    runtime.prepare(0, "auto")
    backup = Backup(folder / ".part.seeds.npz", "one")
    found = repeats.shared(partial(opened, folder.parent / "extract-here/train.npy"), range(5, 9), backup)
    np.save(folder / "seeds.npy", found)
    backup.remove()


def here(folder: Path) -> None:
    """The jobs, each in a folder of its own."""
    for job in (extract, predict, seeds):
        own = folder.parent / f"{job.__name__}-here"
        own.mkdir()
        job(own)


def errors(_: Path) -> None:
    """What cannot go on, one after the other; their messages are printed."""

    def square(item: int) -> int:
        time.sleep((4 - item) / 4)  # they end in the opposite order
        return item**2

    def kill(item: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL if item == 2 else 0)

    def fail(item: int) -> None:
        raise SmallsetError(f"photo {item} is none")

    sys.modules["nowhere"] = module = type(sys)("nowhere")
    exec("def setup(): pass", module.__dict__)  # noqa: S102 - workers lack the module
    assert list(cluster.results(lambda: square, range(4), "item")) == [0, 1, 4, 9]
    assert sum(cluster.hosts.values()) == 2
    complain(lambda: kill)
    complain(lambda: fail)
    complain(module.setup)
    cluster.PATIENCE = 2
    os.environ["TF_NUM_INTRAOP_THREADS"] = "3"  # of nodes with a CPU each
    complain(lambda: print)
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    facts = provenance.facts
    provenance.facts = lambda: facts() | {"processor": "avx9"}
    complain(lambda: print)


def complain(setup: cluster.Setup) -> None:
    """Print what ends this work."""
    try:
        list(cluster.results(setup, range(4), "item"))
    except (SmallsetError, ImportError) as error:
        print(error)
    else:
        raise AssertionError("nothing has ended it")


def faulty(setup: Callable[[], Callable[[Any], Any]], marker: Path, whom: str) -> Callable[[Any], Any]:
    """What setup() gives; the second item of a worker kills it, or its node, unless something has died before."""
    work, seen = setup(), []
    raylet = psutil.Process().parent()
    is_head = "gcs_server" in {process.name() for process in raylet.parent().children()}

    def careless(item: Any) -> Any:
        seen.append(item)
        if len(seen) == 2 and not (whom == "node" and is_head) and not marker.exists():
            marker.touch()
            os.kill(raylet.pid if whom == "node" else os.getpid(), signal.SIGKILL)
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
    try:
        globals()[job](Path(folder))
    except SmallsetError as error:
        sys.exit(f"{socket.gethostname()}: {error}")
