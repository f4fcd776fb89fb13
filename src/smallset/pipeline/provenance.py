"""What the bytes of a result depend on besides code, params and data: package versions, processor, threads."""

import json
import os
import platform
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from smallset.pipeline import files

PACKAGES = (
    *("keras", "matplotlib", "numpy", "openvino", "pandas", "pillow"),
    *("scikit-learn", "scipy", "smallset", "tensorflow"),
)
FLAGS = ("AuthenticAMD", "avx2", "avx512f", "avx512_bf16", "amx_bf16")  # these decide the kernels and the precision
RESULTS = "results"  # the key of the digest of a stage's outputs

Facts = dict[str, str]
Record = dict[str, Facts]  # by stage: the facts that its outputs were made with, and their digest


def facts() -> Facts:
    """The facts of this machine and this process."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": " ".join(flag for flag in FLAGS if flag in processor_flags()),
        "threads": str(threads()),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def threads() -> int:
    """The number of CPUs that this process may use; sums are divided among them, which decides their last digits."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0")) or allowed


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The words that describe the processor, such as its flags; empty on systems other than Linux."""
    return frozenset(cpuinfo.read_text().split()) if cpuinfo.is_file() else frozenset()


def read(path: Path) -> Record:
    """The record in a file; empty when there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def record(path: Path, stage: str, facts: Facts, results: str, stages: Collection[str]) -> None:
    """Write the facts of one stage, and drop stages that are not in `stages`.

    results: The digest of the stage's outputs. When the record has the same digest, nothing is written: git sees no
    change after somebody reproduces committed results on another machine.
    """
    entries = read(path)
    if entries.get(stage, {}).get(RESULTS) == results:
        return
    entries[stage] = {**facts, RESULTS: results}
    files.write_json(path, {name: entries[name] for name in sorted(entries) if name.partition("@")[0] in stages})


def log(path: Path, stage: str, facts: Facts, seconds: float) -> None:
    """Append a line about a run: when it ended, its duration in seconds, and its facts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"stage": stage, "ended": ended, "seconds": round(seconds, 1), **facts}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def differences(before: Mapping[str, object], now: Facts) -> str:
    """What differs, as "tensorflow 2.21.0, here 2.22.0"; "" when nothing does."""
    changes = [name for name, value in now.items() if before.get(name, value) != value]
    return "; ".join(f"{name} {before[name]}, here {now[name]}" for name in changes)
