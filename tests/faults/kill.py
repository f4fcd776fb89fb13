"""Kill `dvc repro` at seeded random moments, run it again, and compare every output with an undisturbed run's.

python tests/faults/kill.py --times 60 --seed 1

Whom: dvc alone, the stage alone, their whole process group, which Ctrl-C reaches, or dvc while it commits, after the
stage. Then `smallset check --fix` mends what DVC left half written. Exit code 1 unless every run after a kill ends with
the same entries in dvc.lock, the md5 of every output among them, and no process is left 5 s after a kill.
"""

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from pipelines import Pipeline

SMALLSET = (sys.executable, "-c", "from smallset.cli.app import app; app()")
GRACE = 5.0  # s, within which everything has ended after a kill
WAYS = [
    *itertools.product(("dvc", "stage", "group"), (signal.SIGKILL, signal.SIGTERM)),
    ("group", signal.SIGINT),  # Ctrl-C
    *itertools.product(("commit",), (signal.SIGKILL, signal.SIGTERM)),
]
COMMIT = 0.6  # s, about what DVC takes after a stage: hashes, links, dvc.lock


@dataclass(frozen=True)
class Kill:
    """What is killed, how, and how long after the stage began, s; of a commit, after it ended."""

    stage: str
    whom: str
    how: signal.Signals
    after: float


def plan(durations: dict[str, float], times: int, seed: int) -> Iterator[Kill]:
    """Every stage in turn, each time another way, at a moment of the stage's duration."""
    random = np.random.default_rng(seed)
    ways = [WAYS[way] for way in random.permutation(np.arange(times) % len(WAYS))]
    for stage, (whom, how) in zip(itertools.cycle(durations), ways, strict=False):
        yield Kill(stage, whom, how, float(random.uniform(0, COMMIT if whom == "commit" else durations[stage])))


def measured(pipeline: Pipeline) -> dict[str, float]:
    """The seconds that each stage takes, from an undisturbed run, one after the other."""
    pipeline.repro()
    durations = {}
    for stage in pipeline.run("dvc", "stage", "list", "--name-only").split():
        started = time.monotonic()
        pipeline.repro(*again(stage))
        durations[stage] = time.monotonic() - started
    return durations


def again(stage: str) -> list[str]:
    """Arguments by which DVC runs one stage anew."""
    return ["--force", "--no-run-cache", "--single-item", stage]


def processes(pipeline: Pipeline) -> list[psutil.Process]:
    """What runs in the pipeline's folder, the oldest first."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(pipeline.folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.create_time())


def strike(pipeline: Pipeline, kill: Kill) -> bool:
    """Run the stage and kill it; True if nothing is left running after the grace."""
    dvc = pipeline.start("dvc", "repro", *again(kill.stage))
    if kill.whom == "commit":
        wait_for_commit(pipeline, dvc)
    time.sleep(kill.after)
    if kill.whom == "group":
        os.killpg(dvc.pid, kill.how)
    else:
        victims = [process for process in processes(pipeline) if (process.pid == dvc.pid) == (kill.whom != "stage")]
        for victim in victims[-1:]:
            victim.send_signal(kill.how)
    if kill.whom == "stage":
        dvc.wait()
    end = time.monotonic() + GRACE
    while time.monotonic() < end and (dvc.poll() is None or processes(pipeline)):
        time.sleep(0.1)
    left = processes(pipeline)
    for process in left:
        process.kill()
    dvc.wait()
    return not left


def wait_for_commit(pipeline: Pipeline, dvc: subprocess.Popen[bytes]) -> None:
    """Return when the stage has begun and ended, or dvc has."""
    begun = False
    while dvc.poll() is None:
        alive = any(process.pid != dvc.pid for process in processes(pipeline))
        if begun and not alive:
            return
        begun = begun or alive
        time.sleep(0.02)


def recover(pipeline: Pipeline) -> str:
    """Run the pipeline again; "", or what `smallset check` had to mend in dvc.lock first."""
    found = pipeline.run(*SMALLSET, "check", "--fix", code=None)
    pipeline.repro("--no-run-cache")
    pipeline.run(*SMALLSET, "check")
    mended = [line for line in found.splitlines() if line.startswith("dvc.lock: ")]
    return f", {mended[0]}" if mended else ""


def entries(pipeline: Pipeline) -> dict[str, Any]:
    """What dvc.lock says of each stage."""
    return yaml.safe_load((pipeline.folder / "dvc.lock").read_text())["stages"]


def line(number: int, kill: Kill, ended: bool, same: bool, cure: str) -> str:
    """What came of one kill."""
    return (
        f"{number:3} {kill.stage:26} {kill.how.name} to {kill.whom:6} after {kill.after:5.1f} s: "
        f"{'same lock' if same else 'OTHER LOCK'}, {'nothing left running' if ended else 'LEFT RUNNING'}{cure}"
    )


def main() -> None:
    """A line for each kill, and a last one with the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=60, help="kills (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of stages, ways and moments (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(Path(folder).resolve())
        durations = measured(pipeline)
        pipeline.commit("results")
        expected = entries(pipeline)
        good = 0
        for number, kill in enumerate(plan(durations, arguments.times, arguments.seed), 1):
            ended = strike(pipeline, kill)
            cure = recover(pipeline)
            same = entries(pipeline) == expected
            good += ended and same
            print(line(number, kill, ended, same, cure), flush=True)
    print(f"{good} of {arguments.times} as an undisturbed run")
    sys.exit(good < arguments.times)


if __name__ == "__main__":
    main()
