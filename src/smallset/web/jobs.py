"""Long commands that a page starts. Each runs in its own session, so that it needs neither the page nor its server.

A record and a log in FOLDER are all that is known about a command; a server that starts later finds them. A `dvc repro`
that somebody started in a terminal is recognized by DVC's list of locked files.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from filelock import FileLock
from ruamel.yaml.error import YAMLError

from smallset.pipeline import files, stage, text
from smallset.pipeline.errors import SmallsetError

FOLDER = Path("data/ui")
RECORD, LOG = FOLDER / "job.json", FOLDER / "job.log"
LOCKED = Path(".dvc/tmp/rwlock")  # DVC's list of the files that running stages read and write
# The shell outlives the command that Ctrl-C ends, and the last line of the log says how the command ended.
WRAPPER = 'trap : INT; "$@"; echo "exit code $?"'
ENDED = re.compile(r"exit code (\d+)\n\Z")
UNCHANGED = re.compile(r"Stage '([^']+)' (?:didn't change|is cached)")
INTERRUPTED = re.compile(r"interrupted by the user|: interrupted\.|KeyboardInterrupt")
TERMINAL = "It was started in a terminal, which shows its output."
TAIL = 60  # lines of a log that a page shows


class Job(NamedTuple):
    """A command that runs or has ended."""

    command: list[str]
    pid: int
    started: float  # the time at which the process was created, by which a later process of the same id is told apart
    has_log: bool = True  # not of a command in a terminal

    @property
    def is_running(self) -> bool:
        """Whether the process still runs."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        return False


def start(*command: str) -> None:
    """Start a command; SmallsetError while another one runs."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with FileLock(FOLDER / "job.lock"):  # two windows, or two servers
        check_idle()
        with LOG.open("wb") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", WRAPPER, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"},
            )
        job = Job([*command], process.pid, psutil.Process(process.pid).create_time())
        threading.Thread(target=process.wait, daemon=True).start()
        files.write_json(RECORD, job._asdict())


def check_idle() -> None:
    """SmallsetError while a command runs."""
    if (job := find()) and job.is_running:
        raise SmallsetError(f"{shlex.join(job.command)} is running. Wait until it has ended, or cancel it.")


def cancel() -> None:
    """Interrupt the running command and its stages, as Ctrl-C does."""
    if (job := find()) and job.is_running:
        os.killpg(os.getpgid(job.pid), signal.SIGINT)


def find() -> Job | None:
    """The running command, or else the last one; None when there is none."""
    job = None
    with suppress(OSError, ValueError, TypeError):
        job = Job(**json.loads(RECORD.read_text(encoding="utf-8")))
    if (job is None or not job.is_running) and (entry := next(iter(_list_locked().values()), None)):
        with suppress(psutil.Error):
            started = psutil.Process(entry["pid"]).create_time()
            job = Job(["dvc", *entry["cmd"].split()[1:]], entry["pid"], started, has_log=False)
            files.write_json(RECORD, job._asdict())  # DVC lists nothing between two stages
    return job


def _list_locked() -> dict[str, dict[str, Any]]:
    """The files that the stages of a running `dvc repro` write, with its process and command."""
    with suppress(OSError, ValueError, AttributeError):  # DVC may be writing the list
        entries = json.loads(LOCKED.read_text(encoding="utf-8")).get("write", {}).items()
        running = {pid for pid in {entry["pid"] for _, entry in entries} if _runs_repro(pid)}
        return {path: entry for path, entry in entries if entry["pid"] in running}
    return {}


def _runs_repro(pid: int) -> bool:
    with suppress(psutil.Error):
        return "repro" in psutil.Process(pid).cmdline()
    return False


def describe() -> dict[str, Any] | None:
    """What a page shows about the running or last command; None when there is none."""
    if (job := find()) is None:
        return None
    log = LOG.read_text(encoding="utf-8", errors="replace") if job.has_log and LOG.is_file() else ""
    running, ended, stages = job.is_running, ENDED.search(log), list[dict[str, Any]]()
    if running or not job.has_log:
        result = "running" if running else "ended"
    elif ended is None or INTERRUPTED.search(log):
        result = "interrupted"
    else:
        result = "done" if ended[1] == "0" else "failed"
    if job.command[:2] == ["dvc", "repro"]:
        with suppress(OSError, ValueError, YAMLError, KeyError, AttributeError):  # somebody edits dvc.yaml
            stages = _list_stages(job, log, result)
    return {
        "command": shlex.join(job.command),
        "result": result,
        "seconds": round(time.time() - job.started) if running else 0,
        "remaining": _estimate(stages, job) if running else None,
        "stages": stages,
        "log": text.lines("\n".join(ENDED.sub("", log).strip().split("\n")[-TAIL:])) if job.has_log else TERMINAL,
    }


def _list_stages(job: Job, log: str, result: str) -> list[dict[str, Any]]:
    """The stages in the order in which they run: how far they are, and the seconds that they took last."""
    lines = stage.LOG.read_text(encoding="utf-8").splitlines() if stage.LOG.is_file() else []
    runs = {row["stage"]: row for row in map(json.loads, lines)}  # the last one of each
    unchanged, writing = {*UNCHANGED.findall(log)}, {*map(os.path.relpath, _list_locked())}
    stages, declarations = [], stage.declarations()
    for name in _order(declarations):
        run = runs.get(name, {"ended": "1970-01-01T00:00:00+00:00", "seconds": None})
        ended = datetime.fromisoformat(run["ended"]).timestamp()
        if name in unchanged or (result == "done" and ended < int(job.started)):
            status = "unchanged"
        elif ended >= int(job.started):
            status = "done"
        else:
            status = "running" if {*stage.list_outputs(declarations[name])} & writing else "waiting"
        stages.append({"name": name, "status": status, "usual": run["seconds"], "ended": ended})
    return stages


def _order(declarations: dict[str, dict[str, Any]]) -> list[str]:
    """The names of the stages, each after those whose outputs it reads."""
    writer = {path: name for name, declaration in declarations.items() for path in stage.list_outputs(declaration)}
    needed = {name: filter(None, map(writer.get, entry.get("deps", []))) for name, entry in declarations.items()}
    return [*TopologicalSorter(needed).static_order()]


def _estimate(stages: list[dict[str, Any]], job: Job) -> int | None:
    """The remaining seconds, if each stage takes as long as last time; None when a stage has not run before."""
    left = [row["usual"] for row in stages if row["status"] in ("running", "waiting")]
    if not stages or None in left:
        return None
    current = sum(row["usual"] for row in stages if row["status"] == "running")
    elapsed = time.time() - max(job.started, *(row["ended"] for row in stages))
    return round(sum(left) - min(elapsed, current))
