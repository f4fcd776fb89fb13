"""python tests/clustered.py JOB FOLDER [FAULT]: a driver for test_cluster, which does a job and may make something die.

Jobs: extract, predict, seeds, or a case of its own. Faults, once, in the middle: worker, node (but the head), driver.
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
from smallset.pipeline import cluster, params
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


def order(_: Path) -> None:
    """Items that end in the opposite order."""
    given = list(cluster.results(lambda: lambda item: time.sleep((4 - item) / 4) or item**2, range(4), "item"))
    assert given == [0, 1, 4, 9], given
    assert sum(cluster.hosts.values()) == 2


def deadly(_: Path) -> None:
    list(cluster.results(lambda: lambda item: item == 2 and os.kill(os.getpid(), signal.SIGKILL), range(4), "item"))


def failing(_: Path) -> None:
    def fail(item: int) -> None:
        raise SmallsetError(f"photo {item} is none")

    list(cluster.results(lambda: fail, range(4), "item"))


def crowded(_: Path) -> None:
    """Asked for more CPUs than a node has."""
    cluster.PATIENCE = 3
    os.environ["TF_NUM_INTRAOP_THREADS"] = "3"
    list(cluster.results(lambda: print, range(4), "item"))


def other(_: Path) -> None:
    """A driver whose processor is another one."""
    facts = cluster.provenance.facts
    cluster.provenance.facts = lambda: facts() | {"processor": "avx9"}
    list(cluster.results(lambda: print, range(4), "item"))


def unknown(_: Path) -> None:
    """Workers that lack a module which the driver has."""
    sys.modules["nowhere"] = module = type(sys)("nowhere")
    exec("def setup(): pass\nsetup.__module__ = 'nowhere'", module.__dict__)  # noqa: S102
    list(cluster.results(module.setup, range(4), "item"))


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

    cluster.results = disturbed


if __name__ == "__main__":
    job, folder, *fault = sys.argv[1:]
    if fault:
        disturb(Path(folder), fault[0])
    Path(folder).mkdir(exist_ok=True)
    try:
        globals()[job](Path(folder))
    except SmallsetError as error:
        sys.exit(f"{socket.gethostname()}: {error}")
