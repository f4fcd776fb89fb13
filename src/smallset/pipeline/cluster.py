"""Share work among the nodes of a Ray cluster; results come in the order of the items.

SMALLSET_RAY_ADDRESS names the cluster. It does not change any result, so no stage depends on it. Large data go through
files that all nodes see. A cluster of Ray 2.61 or later expects a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.
"""

import logging
import os
import signal
import socket
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from smallset.pipeline import install, process, provenance
from smallset.pipeline.errors import SmallsetError

VARIABLE = "SMALLSET_RAY_ADDRESS"  # auto, host:port or ray://host:port
PATIENCE = 90.0  # s, in which at least one worker must start
ATTEMPTS = 3  # workers that may die at one item

Setup = Callable[[], Callable[[Any], Any]]  # called once in each worker; what it returns is called with each item

_hosts: dict[str, set[int]] = {}  # the processes that computed for this one, by host
_functions: dict[str, Callable[[Any], Any]] = {}  # in a worker: what setup() returned, by the key of the `results` call


def address(option: str | None = None) -> str:
    """The cluster's address from an option or from the environment; "" for none."""
    return option or os.environ.get(VARIABLE, "")


def workers() -> provenance.Facts:
    """Where workers computed for this process, for the record of a run; empty without a cluster."""
    return {"ray": ", ".join(f"{len(_hosts[host])} x {host}" for host in sorted(_hosts))} if _hosts else {}


def results(setup: Setup, items: Sequence[Any], what: str, option: str | None = None) -> Iterator[Any]:
    """Yield what setup() returns for each item, in the order of the items.

    Args:
        setup: Pickled, if need be by value, and called once in each worker.
        items: Pickled one by one; they and their results should be small.
        what: An item's noun in messages, as "shard".
        option: The cluster's address, if not from the environment.

    Raises:
        SmallsetError: No cluster answers, no worker starts, three workers die at one item, or a worker's packages or
            processor would give other bytes than this process. Errors of `setup` and of items are raised as they are.
    """
    if not items:
        return
    ray = _connect(address(option))
    variables = {name: value for name, value in os.environ.items() if name.startswith("TF_")}
    variables |= {"DVC_STAGE": "", "TF_NUM_INTRAOP_THREADS": str(provenance.threads())}
    options = {"num_cpus": provenance.threads(), "max_retries": 0, "runtime_env": {"env_vars": variables}}
    _require_worker(ray, options)
    job = ray.put((uuid.uuid4().hex, str(Path.cwd()), socket.gethostname(), provenance.facts(), setup))
    task = ray.remote(_compute).options(scheduling_strategy="SPREAD", **options)
    calls: deque[Any] = deque()  # of the items from the current one on
    for number, item in enumerate(items):
        ahead = 2 * max(1, int(ray.cluster_resources().get("CPU", 0)) // provenance.threads())  # two for each worker
        calls.extend(task.remote(job, later) for later in items[number + len(calls) : number + ahead])
        for attempt in range(1, ATTEMPTS + 1):
            try:
                host, worker, result = _get(ray, calls[0])
                break
            except ray.exceptions.RayError as error:
                _report_death(f"{what} {number + 1} of {len(items)}", attempt, _last_line(error).partition(". ")[0])
                calls[0] = task.remote(job, item)
        _hosts.setdefault(host, set()).add(worker)
        calls.popleft()
        yield result


def _compute(job: tuple[str, str, str, provenance.Facts, Setup], item: object) -> tuple[str, int, object]:
    """In a worker: what the job's function returns for an item, and which process this is."""
    key, folder, driver, facts, setup = job
    if key not in _functions:
        if differences := provenance.differences(provenance.facts(), facts):
            raise SmallsetError(
                f"The node {socket.gethostname()} would compute other results than {driver}: it has {differences}. "
                f"Use nodes with the same processor and packages, or start the run on one of them."
            )
        if Path(folder).is_dir():  # the driver's working folder, on storage that all nodes see
            os.chdir(folder)
        process.prepare()
        _functions[key] = setup()
    return socket.gethostname(), os.getpid(), _functions[key](item)


def _get(ray: ModuleType, call: Any) -> Any:  # noqa: ANN401 - Ray has no types
    """Return the result of a remote call. Raises the error that its code raised, or RayError when its worker died."""
    try:
        return ray.get(call)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, ray.exceptions.RaySystemError):  # the worker cannot unpickle the call
            message = f"A worker cannot start: {_last_line(cause)}. Install the same packages on all nodes."
            raise SmallsetError(message) from None
        raise cause from None


def _require_worker(ray: ModuleType, options: dict[str, Any]) -> None:
    """SmallsetError when no node has room for a worker."""
    if not ray.wait([ray.remote(provenance.threads).options(**options).remote()], timeout=PATIENCE)[0]:
        cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        raise SmallsetError(
            f"The cluster started no worker in {PATIENCE:.0f} s. A worker needs {options['num_cpus']} CPUs of one node "
            f"(TF_NUM_INTRAOP_THREADS sets this number); the nodes have {cpus}, some of them perhaps in use."
        )


def _report_death(item: str, attempt: int, reason: str) -> None:
    """Tell that a worker died; SmallsetError after the last attempt."""
    if attempt == ATTEMPTS:
        raise SmallsetError(f"{ATTEMPTS} workers of the cluster died at {item}. The last error: {reason}")
    print(f"A worker of the cluster died at {item}, which another worker repeats: {reason}", file=sys.stderr)


def _connect(where: str) -> ModuleType:
    """The module ray, connected to the cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of workers that failed after another one
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or else Ray warns of its future default
    try:
        import ray
        from ray._private import worker
    except ImportError:
        raise install.missing_extra(f"{where}: a cluster", "Ray", "ray") from None
    if ray.is_initialized():
        return ray
    # Ray prints what happens to nodes to stdout, which belongs to the results; `results` tells it in a line on stderr.
    worker.print_to_stdstream = lambda *_, **__: None
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if where != "auto":  # Ray would try for minutes and then end the process
            host, _, port = where.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        with process.silence_stderr():  # Ray's C++ logs there
            ray.init(where, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        reason = _last_line(error)
        raise SmallsetError(f"{where}: no Ray cluster answers ({reason}). Start one, or change the address.") from None
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray replaces it
    return ray


def _last_line(error: BaseException) -> str:
    """The last line of an error, which may have pages."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1][:300]
