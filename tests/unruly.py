"""python tests/unruly.py: a driver for test_cluster, of work that cannot go on. It prints what each case ends with."""

import os
import signal
import sys
import time

from smallset.pipeline import cluster, provenance
from smallset.pipeline.errors import SmallsetError


def main() -> None:
    """Where a second process is at work, items end in another order than they began."""

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
    complain(lambda: kill)
    complain(lambda: fail)
    complain(module.setup)
    patience, cluster.PATIENCE = cluster.PATIENCE, 2
    os.environ["TF_NUM_INTRAOP_THREADS"] = "3"  # of nodes with a CPU each
    complain(lambda: print)
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    cluster.PATIENCE = patience
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


if __name__ == "__main__":
    try:
        main()
    except SmallsetError as error:
        sys.exit(str(error))
