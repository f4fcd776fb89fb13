"""Sides of a case in turn, A B A B, each in a process of its own: precision and peak memory belong to a process."""

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
    """What every case gets: photos in `folder`/{train,validation}/<class>/, px, a folder to write to, row counts."""

    folder: Path
    scratch: Path
    size: int  # px
    rows: dict[str, int]  # split to the chapter's photos, for what is cheap enough to be measured whole

    @property
    def photos(self) -> int:
        """The training photos in `folder`."""
        return sum(1 for _ in (self.folder / "train").glob("*/*"))


@dataclass(frozen=True)
class Work:
    """One round: what to run, the training photos it serves, and its GFLOP where they are counted."""

    run: Callable[[], object]
    photos: int
    gflop: float = 0


@dataclass(frozen=True)
class Series:
    """The rounds of one side of a case: seconds of each, training photos and GFLOP of one, peak resident GiB."""

    seconds: list[float]
    photos: int
    gflop: float
    peak: float


def alternate(case: str, sides: Sequence[str], setup: Setup, rounds: int) -> dict[str, Series]:
    """Start a process for each side, let each do a round to warm up, then measure them in turn."""
    with ExitStack() as stack:
        children = {side: stack.enter_context(child(side, case, setup)) for side in sides}
        work = {side: connection.recv() for side, connection in children.items()}
        measured = [{side: ask(connection) for side, connection in children.items()} for _ in range(rounds)]
    return {
        side: Series([one[side][0] for one in measured], photos, gflop, peak=measured[-1][side][1])
        for side, (photos, gflop) in work.items()
    }


def ask(connection: Connection) -> tuple[float, float]:
    """One round: seconds, and the peak resident GiB so far."""
    connection.send("next")
    return connection.recv()


@contextmanager
def child(side: str, case: str, setup: Setup) -> Iterator[Connection]:
    """A fresh process that is ready to measure when this yields; it ends with the connection."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    log = setup.scratch / f"{case}-{side}.log"
    process = context.Process(target=serve, args=(there, log, side, case, setup))
    process.start()
    there.close()
    here.poll(None)  # one at a time: a start would disturb the other's warm-up
    try:
        yield here
    except EOFError:
        raise SystemExit(f"{log.read_text()}\n{case}, {side}: ended early; its own words are above") from None
    finally:
        here.close()
        process.join()


def serve(connection: Connection, log: Path, side: str, case: str, setup: Setup) -> None:
    """In the child: warm up, say what a round does, and do one whenever asked, until the other end closes."""
    with log.open("w") as words:
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
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
    """Peak resident memory, mapped files included. The kernel counts KiB, macOS's bytes."""
    return usage.ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20)
