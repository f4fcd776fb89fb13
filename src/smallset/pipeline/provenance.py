"""What the bytes of a result depend on beside code, params and data: versions, processor, threads."""

import json
import os
import platform
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from smallset.pipeline import files

PACKAGES = (
    "imagehash",
    "keras",
    "matplotlib",
    "numpy",
    "openvino",
    "pandas",
    "pillow",
    "scikit-learn",
    "scipy",
    "tensorflow",
)
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # by which TensorFlow chooses its kernels
RESULTS = "results"  # the key of their digest

Facts = dict[str, str]
Record = dict[str, Facts]  # stage to the facts that its results were made with, and their digest


def facts() -> Facts:
    """This machine and this process: each fact in a few words."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": " ".join(flag for flag in FLAGS if flag in processor_flags()),
        "threads": str(threads()),
        "python": platform.python_version(),
        **versions,
    }


def threads() -> int:
    """How many this process may use: sums are divided among them, so another number gives other last digits."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0")) or allowed


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor says of itself. Only Linux tells; elsewhere nothing."""
    return frozenset(cpuinfo.read_text().split()) if cpuinfo.is_file() else frozenset()


def read(path: Path) -> Record:
    """What was recorded; nothing where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def record(path: Path, stage: str, here: Facts, results: str, stages: Collection[str]) -> None:
    """Note the facts of one stage; the others of `stages` keep theirs.

    results: a digest of what the stage has made. Where the record has it already, nothing is written: who repeats
    results that are committed finds git clean, on whatever machine.
    """
    known = read(path)
    if known.get(stage, {}).get(RESULTS) == results:
        return
    known[stage] = {**here, RESULTS: results}
    files.write_json(path, {name: known[name] for name in sorted(known) if name.partition("@")[0] in stages})


def log(path: Path, stage: str, here: Facts, seconds: float) -> None:
    """Add a line for this run: when it ended, how long it took, and on what. For people; git and DVC do not see it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"stage": stage, "ended": ended, "seconds": round(seconds, 1), **here}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def differences(before: Mapping[str, object], here: Facts) -> str:
    """What has changed, as "tensorflow 2.21.0, here 2.22.0"; empty where nothing has."""
    return "; ".join(
        f"{name} {before.get(name)}, here {value}" for name, value in here.items() if before.get(name, value) != value
    )
