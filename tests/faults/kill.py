"""Kill `dvc repro` at seeded random moments, run it again, and compare dvc.lock with that of an undisturbed run.

python tests/faults/kill.py [TIMES [SEED]]

The victim is dvc alone, the stage alone, their whole process group, which Ctrl-C reaches, or dvc while it commits after
the stage. Then `smallset check --fix` repairs what DVC left half written. Exit code 1 unless every run after a kill
ends with the same entries in dvc.lock, and no process is left 5 s after a kill.
"""

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
import projects

GRACE = 5.0  # s, in which everything has to end after a kill
COMMIT = 0.6  # s that DVC takes after a stage, about: hashes, links, dvc.lock
WAYS = [*itertools.product(("dvc", "stage", "group", "commit"), (signal.SIGKILL, signal.SIGTERM))]
WAYS += [("group", signal.SIGINT)]


def find_processes(project: Path) -> list[psutil.Process]:
    """What runs in the project's folder, the oldest first."""
    processes = [process for process in psutil.process_iter(["cwd", "status"]) if process.info["cwd"] == str(project)]
    alive = [process for process in processes if process.info["status"] != psutil.STATUS_ZOMBIE]
    return sorted(alive, key=psutil.Process.create_time)


def repeat(stage: str) -> list[str]:
    return ["dvc", "repro", "--force", "--no-run-cache", "--single-item", stage]


def strike(project: Path, stage: str, victim: str, how: signal.Signals, after: float) -> bool:
    """Run the stage and kill it so many s after its start, or for commit after its end; True if no process is left."""
    env = os.environ | {"PATH": f"{projects.SCRIPTS}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    null = subprocess.DEVNULL
    dvc = subprocess.Popen(repeat(stage), cwd=project, env=env, stdout=null, stderr=null, start_new_session=True)
    counts = [1]  # of processes; when it falls from 2 or more to 1, the stage has ended
    while victim == "commit" and dvc.poll() is None and not (counts[-1] == 1 and max(counts) > 1):
        counts.append(len(find_processes(project)))
        time.sleep(0.02)
    time.sleep(after)
    if victim == "group":
        os.killpg(dvc.pid, how)
    else:
        below = [process for process in find_processes(project) if process.pid != dvc.pid]
        for process in below[-1:] if victim == "stage" else [dvc]:
            process.send_signal(how)
    if victim == "stage":
        dvc.wait()
    end = time.monotonic() + GRACE
    while time.monotonic() < end and (dvc.poll() is None or find_processes(project)):
        time.sleep(0.1)
    left = find_processes(project)
    for process in left:
        process.kill()
    dvc.wait()
    return not left


def prepare(home: Path) -> tuple[Path, dict[str, float]]:
    """A project with a committed run, and the seconds that each of its stages takes."""
    for label in range(2):
        projects.draw(home / f"photos/{label}", 20, seed=label)
    projects.run(home, "smallset", "init", "project", "--photos", "photos")
    project, durations = home / "project", {}
    projects.shrink(project)
    projects.run(project, "dvc", "repro")
    for stage in projects.run(project, "dvc", "stage", "list", "--name-only").split():
        started = time.monotonic()
        projects.run(project, *repeat(stage))
        durations[stage] = time.monotonic() - started
    projects.run(project, "git", "add", "--all")
    projects.run(project, "git", "commit", "--quiet", "--message", "results")
    return project, durations


def main(times: int = 60, seed: int = 1) -> None:
    """Kill every stage in turn, each time in another way; print a line for each kill."""

    def read_lock() -> Any:
        return yaml.safe_load((project / "dvc.lock").read_text())["stages"]

    with tempfile.TemporaryDirectory() as home:
        project, durations = prepare(Path(home).resolve())
        random, expected, good = np.random.default_rng(seed), read_lock(), 0
        for stage, way in zip(
            itertools.cycle(durations), random.permutation(np.arange(times) % len(WAYS)), strict=False
        ):
            victim, how = WAYS[way]
            after = float(random.uniform(0, COMMIT if victim == "commit" else durations[stage]))
            ended = strike(project, stage, victim, how, after)
            projects.run(project, "sh", "-c", "smallset check --fix || test $? = 1")
            projects.run(project, "dvc", "repro", "--no-run-cache")
            projects.run(project, "smallset", "check")
            good += ended and read_lock() == expected
            results = f"{'same' if read_lock() == expected else 'OTHER'} lock{'' if ended else ', LEFT RUNNING'}"
            print(f"{stage:24} {how.name} to {victim:6} after {after:5.1f} s: {results}", flush=True)
    sys.exit(f"{good} of {times} runs ended as the undisturbed one" if good < times else 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
