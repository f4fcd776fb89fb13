"""Work shared out over a Ray cluster, where SMALLSET_RAY names one; the results come in the order of the items.

Where a result was computed is no part of an experiment, so this is never a dep of a stage. Actors alone, no tasks of
Ray's: they may have all CPUs, and nothing starves. What is large goes through files that all nodes see, not through
Ray.
Clusters of Ray 2.61 on want a token by default: Ray takes it from RAY_AUTH_TOKEN, with RAY_AUTH_MODE=token.
"""

import logging
import os
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from smallset.pipeline import provenance
from smallset.pipeline.errors import SmallsetError

VARIABLE = "SMALLSET_RAY"  # auto, host:port or ray://host:port
PATIENCE = 90.0  # s, in which one worker at least is there
ATTEMPTS = 3
HELLO, SETUP = -2, -1  # what a worker does before items, which have numbers from 0

Setup = Callable[[], Callable[[Any], Any]]  # called once in each worker; what it returns is called with each item

Handle = Any  # of an actor

hosts: Counter[str] = Counter()  # workers that have been at work for this process


def address(given: str | None = None) -> str:
    """The cluster's: the one that is given, or the environment's; "" where there is none."""
    return given or os.environ.get(VARIABLE, "")


def ran() -> provenance.Facts:
    """Where this process had work done, for the record; nothing where it did all by itself."""
    return {"ray": ", ".join(f"{count} x {host}" for host, count in sorted(hosts.items()))} if hosts else {}


def results(setup: Setup, items: Sequence[Any], what: str, given: str | None = None) -> Iterator[Any]:
    """What setup() gives for each item, in their order. The items are pickled, and so is `setup`, by value if need be.

    what: an item's name in an error, before the item. An item whose worker dies goes to another worker. SmallsetError
    where that has happened three times, where no worker can start, and where workers would give other bytes than this
    machine. What `setup` or an item raises is raised here.
    """
    if not items:
        return
    pool = Pool(connected(address(given)), setup, items, what)
    try:
        yield from pool.results()
    finally:
        pool.close()


def connected(where: str) -> ModuleType:
    """The module ray, connected; SmallsetError where it is not installed, or nobody answers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of workers that failed when another already had
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what will be its default
    try:
        import ray
    except ImportError:
        raise SmallsetError(f'{where}: a cluster needs Ray. Run: pip install "smallset[ray]"') from None
    if ray.is_initialized():
        return ray
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if where != "auto":  # Ray itself would try for minutes, and then end the process
            host, _, port = where.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(where, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        raise SmallsetError(
            f"{where}: no Ray cluster answers there ({last(error)}). Start one, or name another."
        ) from None
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in place of a stage's
    return ray


class Worker:
    """A process of the cluster. It imports what is heavy only once it has said hello."""

    def hello(self) -> tuple[str, provenance.Facts]:
        """Its node, and what its bytes depend on."""
        return socket.gethostname(), provenance.facts()

    def setup(self, folder: str, setup: Setup) -> None:
        """Be ready for items. folder: the driver's, which storage that all nodes see has here as well."""
        if Path(folder).is_dir():
            os.chdir(folder)
        self.work = setup()

    def result(self, item: object) -> object:
        """What the item gives."""
        return self.work(item)


class Pool:
    """Workers, each with one call under way: hello, its setup, or an item."""

    def __init__(self, ray: ModuleType, setup: Setup, items: Sequence[Any], what: str) -> None:
        self.ray, self.setup, self.items, self.what = ray, setup, items, what
        self.here = provenance.facts()
        self.calls: dict[Any, tuple[Handle, int]] = {}  # a call to its worker and what it does
        self.waiting = deque(range(len(items)))
        self.deaths: Counter[int] = Counter()
        self.reason, self.since = "", time.monotonic()  # why no worker is there, and since when
        # the stage's own process watches DVC; and a worker computes as this process would
        own = {name: value for name, value in os.environ.items() if name.startswith("TF_")}
        variables = own | {"DVC_STAGE": "", "TF_NUM_INTRAOP_THREADS": self.here["threads"]}
        self.worker = ray.remote(Worker).options(
            num_cpus=provenance.threads(), scheduling_strategy="SPREAD", runtime_env={"env_vars": variables}
        )

    def results(self) -> Iterator[Any]:
        """As they are ready, in the order of the items."""
        done: dict[int, Any] = {}
        for number in range(len(self.items)):
            while number not in done:
                self.hire()
                done |= self.finished()
            yield done.pop(number)

    def hire(self) -> None:
        """As many workers as the nodes that are alive have room for, and items are left for."""
        threads = provenance.threads()
        nodes = [int(node["Resources"].get("CPU", 0)) for node in self.ray.nodes() if node["Alive"]]
        under_way = sum(number >= 0 for _, number in self.calls.values())
        room = min(sum(cpus // threads for cpus in nodes), len(self.waiting) + under_way)
        for _ in range(room - len(self.calls)):
            worker = self.worker.remote()
            self.calls[worker.hello.remote()] = worker, HELLO
        if any(number != HELLO for _, number in self.calls.values()):
            self.since = time.monotonic()
        elif time.monotonic() - self.since > PATIENCE:
            asked = f"a worker asks for {threads} CPUs of one node (TF_NUM_INTRAOP_THREADS sets them)"
            reason = self.reason or f"{asked}; the nodes have {nodes}, and others may use some"
            raise SmallsetError(f"The cluster has started no worker in {PATIENCE:.0f} s: {reason}.")

    def finished(self) -> dict[int, Any]:
        """Wait a while; give those workers that are through their next call, and return what items gave."""
        if not self.calls:
            time.sleep(1)
            return {}
        done, (ready, _) = {}, self.ray.wait(list(self.calls), timeout=2)
        for call in ready:
            worker, number = self.calls.pop(call)
            try:
                result = self.ray.get(call)
            except self.ray.exceptions.RayTaskError as error:
                raise blamed(self.ray, error) from None
            except self.ray.exceptions.RayError as error:
                self.ray.kill(worker)
                self.died(number, last(error))
                continue
            if number == HELLO:
                self.check(*result)
            elif number != SETUP:
                done[number] = result
            self.give(worker, number)
        return done

    def give(self, worker: Handle, number: int) -> None:
        """What comes after that: its setup, an item, or the end."""
        if number == HELLO:
            self.calls[worker.setup.remote(str(Path.cwd()), self.setup)] = worker, SETUP
        elif self.waiting:
            following = self.waiting.popleft()
            self.calls[worker.result.remote(self.items[following])] = worker, following
        else:
            self.ray.kill(worker)

    def check(self, host: str, there: provenance.Facts) -> None:
        """SmallsetError where a worker's bytes would be others than this process's."""
        if other := provenance.differences(there, self.here):
            raise SmallsetError(
                f"The node {host} would give other bytes than {socket.gethostname()}: it has {other}. "
                f"Use nodes with this processor and these packages, or start the run on one of them."
            )
        hosts[host] += 1

    def died(self, number: int, reason: str) -> None:
        """Let another worker have its item; SmallsetError where workers die of this item, or of their setup."""
        self.deaths[number] += 1
        self.reason = reason
        if self.deaths[number] == ATTEMPTS:
            name = f"{self.what} {self.items[number]}" if number >= 0 else "no item so far"
            raise SmallsetError(f"The cluster's workers died {ATTEMPTS} times at {name}: {reason}")
        if number >= 0:
            self.waiting.appendleft(number)

    def close(self) -> None:
        """End the workers."""
        for worker, _ in self.calls.values():
            self.ray.kill(worker)


def blamed(ray: ModuleType, error: Exception) -> Exception:
    """What `setup` or an item raised, as it was raised there; a worker that lacks what these need says so."""
    cause: Exception = getattr(error, "cause", None) or error
    if isinstance(cause, ray.exceptions.RaySystemError):
        return SmallsetError(f"A worker cannot begin: {last(cause)}. Install the same packages on all nodes.")
    return cause


def last(error: BaseException) -> str:
    """The last line of an error, which may be pages."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1][:300]
