"""What the bytes of a result depend on beside code, params and data: versions, processor, threads."""

import json
import os
import platform
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path

from smallset import files

PACKAGES = ("imagehash", "keras", "matplotlib", "numpy", "pandas", "pillow", "scikit-learn", "scipy", "tensorflow")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # by which TensorFlow chooses its kernels

Facts = dict[str, str]
Record = dict[str, str | float]  # facts, and the seconds that the stage took


def facts() -> Facts:
    """This machine: each fact in a few words."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": " ".join(flag for flag in FLAGS if flag in processor_flags()),
        "threads": str(os.cpu_count()),
        "python": platform.python_version(),
        **versions,
    }


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor says of itself. Only Linux tells; elsewhere nothing."""
    return frozenset(cpuinfo.read_text().split()) if cpuinfo.is_file() else frozenset()


def read(path: Path) -> dict[str, Record]:
    """Stage to the facts that its results in dvc.lock were made with, and the seconds that it took."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def record(path: Path, stage: str, here: Facts, seconds: float, stages: Collection[str]) -> None:
    """Note the facts of one stage and how long it took; the others of `stages` keep theirs."""
    own: Record = {**here, "seconds": round(seconds, 1)}
    known = {name: noted for name, noted in read(path).items() if name.partition("@")[0] in stages}
    files.write_json(path, dict(sorted((known | {stage: own}).items())))


def differences(before: Mapping[str, object], here: Facts) -> str:
    """What has changed, as "tensorflow 2.21.0, here 2.22.0"; empty where nothing has. No run takes equally long."""
    return "; ".join(
        f"{name} {before.get(name)}, here {value}" for name, value in here.items() if before.get(name, value) != value
    )
