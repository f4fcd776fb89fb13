"""python tests/clustered.py CASE...: work on a cluster, for test_cluster. It prints how each case ends, after an =.

The items are the numbers 0 to 3; the result of an item is its square.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from smallset.pipeline import cluster, provenance
from smallset.pipeline.errors import SmallsetError

Work = Callable[[int], int]


def square() -> Work:
    """Items end in the opposite order, where two workers compute."""

    def work(item: int) -> int:
        time.sleep((4 - item) / 4)
        return item**2

    return work


def kill_once(victims: Callable[[psutil.Process], list[psutil.Process]], marker: Path) -> Work:
    """The first item to arrive kills processes of its node."""

    def work(item: int) -> int:
        if not marker.exists():
            marker.touch()
            for process in victims(psutil.Process()):
                process.kill()
        return item**2

    return work


def worker() -> Work:
    return kill_once(lambda process: [process], Path("marker-worker"))


def node() -> Work:
    """Kills the node that is not the head's, with all its processes."""
    raylet = psutil.Process().parent()
    is_head = "gcs_server" in {process.name() for process in raylet.parent().children()}

    def victims(process: psutil.Process) -> list[psutil.Process]:
        others = [*raylet.parent().children(recursive=True), raylet.parent()]
        return [*(other for other in others if other != process), process]

    work = kill_once(victims, Path("marker-node"))

    def wait_for_other_node(item: int) -> int:
        while is_head and not Path("marker-node").exists():
            time.sleep(0.1)
        return item**2 if is_head else work(item)

    return wait_for_other_node


def poison() -> Work:
    def work(item: int) -> int:
        if item == 2:
            psutil.Process().kill()
        return item**2

    return work


def fail() -> Work:
    def work(item: int) -> int:
        raise SmallsetError(f"photo {item} does not decode")

    return work


def crowded() -> Work:
    raise AssertionError("no node has so many CPUs")


def features() -> str:
    """Features from the cluster have the bytes of those from this process."""
    from smallset import embed
    from smallset.datasets import folders, synthetic
    from smallset.features import embedding
    from smallset.models import precision

    embedding.SHARD = 4
    synthetic.draw(Path("drawn"), 6, 48, seed=0)
    drawn, _ = folders.read_folder(Path.cwd() / "drawn")
    table = drawn.table.assign(split=["train"] * 9 + ["test"] * 3, sha256=[f"{n:064}" for n in range(12)])
    values = []
    for address in (os.environ[cluster.VARIABLE], ""):
        os.environ[cluster.VARIABLE] = address
        precision.prepare(0, "auto")
        result = embed(replace(drawn, table=table), "EfficientNetLite0", weights=None, image_sizes=[32])
        arrays = (result.values, result.flipped, result.thumbnails)
        values.append([None if array is None else array.tobytes() for array in arrays])
    return "equal" if values[0] == values[1] else "different"


def run(case: str) -> object:
    """The results of a case."""
    if case == "features":
        return features()
    setup: cluster.Setup = globals().get(case, square)
    if case == "missing":  # a module that the workers do not have
        sys.modules["nowhere"] = module = type(sys)("nowhere")
        exec("def setup(): pass", module.__dict__)  # noqa: S102
        setup = module.setup
    if case == "crowded":
        os.environ["TF_NUM_INTRAOP_THREADS"], cluster.PATIENCE = "3", 2
    if case == "other":
        facts = provenance.facts() | {"processor": "avx9"}
        provenance.facts = lambda: facts
    return list(cluster.results(setup, range(4), "item"))


if __name__ == "__main__":
    for case in sys.argv[1:]:
        try:
            print("=", run(case))
        except (SmallsetError, ImportError) as error:
            print("=", error)
        os.environ["TF_NUM_INTRAOP_THREADS"], cluster.PATIENCE = "1", 90
    print("=", cluster.workers().get("ray", "none"))
