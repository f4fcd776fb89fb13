"""Measure the sides of a case in turn, A B A B, each in its own process, which has its own precision and memory."""

import contextlib
import importlib
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

SIDES = ("book", "ours")  # modules with prepare(), and CASES: a case's name to the function that gives its Work


@dataclass(frozen=True)
class Setup:
    """The input of a case: photos in `folder`/{train,validation}/<class>/, their size, and a folder to write to."""

    folder: Path
    scratch: Path
    size: int  # px
    rows: dict[str, int]  # the chapter's photos by split, for cases that are cheap enough for all of them

    @property
    def photos(self) -> int:
        """The number of training photos in `folder`."""
        return sum(1 for _ in (self.folder / "train").glob("*/*"))


@dataclass(frozen=True)
class Work:
    """One round: the function to run, its number of training photos, and its GFLOP if they are counted."""

    run: Callable[[], object]
    photos: int
    gflop: float = 0


@dataclass(frozen=True)
class Series:
    """The rounds of one side of a case: the seconds of each, photos and GFLOP per round, and the peak resident GiB."""

    seconds: list[float]
    photos: int
    gflop: float
    peak: float


def alternate(case: str, sides: Sequence[str], setup: Setup, rounds: int) -> dict[str, Series]:
    """Start a process for each side, run one round in each to warm up, then measure them in turn."""
    with ExitStack() as stack:
        children = {side: stack.enter_context(child(side, case, setup)) for side in sides}
        work = {side: connection.recv() for side, connection in children.items()}
        measured = [{side: ask(connection) for side, connection in children.items()} for _ in range(rounds)]
    return {
        side: Series([row[side][0] for row in measured], photos, gflop, peak=measured[-1][side][1])
        for side, (photos, gflop) in work.items()
    }


def ask(connection: Connection) -> tuple[float, float]:
    """Run one round; return its seconds, and the peak resident GiB until now."""
    connection.send("next")
    return connection.recv()


@contextmanager
def child(side: str, case: str, setup: Setup) -> Iterator[Connection]:
    """A new process that is ready to measure when this yields. It ends with the connection."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    log = setup.scratch / f"{case}-{side}.log"
    process = context.Process(target=serve, args=(there, log, side, case, setup))
    process.start()
    there.close()
    here.poll(None)  # start one at a time, so that no start disturbs another warm-up
    try:
        yield here
    except EOFError:
        raise SystemExit(f"{log.read_text()}\n{case}, {side}: ended early; its output is above") from None
    finally:
        here.close()
        process.join()


def serve(connection: Connection, log: Path, side: str, case: str, setup: Setup) -> None:
    """In the child: warm up, send the size of a round, and run one for each message until the other end closes."""
    with log.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    module = importlib.import_module(f"benchmarks.{side}")
    module.prepare()
    work: Work = module.CASES[case](setup)
    work.run()
    connection.send((work.photos, work.gflop))
    with contextlib.suppress(EOFError, ConnectionResetError):
        while connection.recv():
            started = time.perf_counter()
            work.run()
            connection.send((time.perf_counter() - started, gib(resource.getrusage(resource.RUSAGE_SELF))))


def gib(usage: resource.struct_rusage) -> float:
    """Peak resident memory, including mapped files. Linux counts KiB, macOS bytes."""
    return usage.ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20)
