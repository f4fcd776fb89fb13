"""What each stage script needs around its main(): its params, one clear error, and a note of what it was made with."""

import errno
import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from smallset import files, params, provenance
from smallset.errors import SmallsetError

RECORD = Path("metrics/provenance.json")  # what each stage's results in dvc.lock were made with; git's, not DVC's


def graph() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml."""
    stages: dict[str, dict[str, Any]] = YAML(typ="safe", pure=True).load(Path("dvc.yaml"))["stages"]
    return stages


def declared() -> dict[str, Any]:
    """What dvc.yaml says of the stage that DVC is running (its name is in DVC_STAGE)."""
    # subset, evaluate@convnet, or sample/dvc.yaml:subset when DVC runs all pipelines
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")[0]
    if not name:
        raise SmallsetError(f"A stage is run by DVC, which knows its params: dvc repro {Path(sys.argv[0]).stem}")
    return graph()[name]


def load_params() -> params.Params:
    """The params that dvc.yaml declares for the stage."""
    return params.read(Path("params.yaml")).only(declared().get("params", []))


def backup(output: Path) -> files.Backup:
    """Where the stage, on its way to `output`, keeps what it has done, for a run with the same params and deps."""
    total = hashlib.sha256(repr((sys.argv, load_params(), provenance.facts())).encode())
    for path in (path for dep in declared()["deps"] for path in below(Path(dep))):
        total.update(f"{path} {files.sha256(path)}\n".encode())
    return files.Backup(files.part(output.with_suffix(".npz")), total.hexdigest())


def below(path: Path) -> Iterator[Path]:
    """The file, or the files of the folder and its folders, in order."""
    return iter([path]) if path.is_file() else (inner for inner in sorted(path.rglob("*")) if inner.is_file())


def run(main: Callable[[], None]) -> None:
    """Call main(); print how long it took, or the error without its traceback. End on SIGTERM."""
    name = os.environ.get("DVC_STAGE", Path(sys.argv[0]).stem).rpartition(":")[2]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"\n{name}: ended by SIGTERM. Go on with: dvc repro"))
    try:
        recorded(main, name)
    except KeyboardInterrupt:
        sys.exit(f"\n{name}: interrupted. Go on with: dvc repro")
    except MemoryError as error:
        sys.exit(f"\n{name}: not enough memory. {error} Close other programs, or lower the stage's batch.")
    except (SmallsetError, OSError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        sys.exit(f"\n{name}: {error}{'. The disk is full: make room, then dvc repro' if full else ''}")
    except Exception as error:
        if not (inner := re.search(r"SmallsetError: (.*)", str(error))):  # what TensorFlow's input pipeline wraps
            raise
        sys.exit(f"\n{name}: {inner[1]}. Run: dvc repro --force subset")


def recorded(main: Callable[[], None], name: str) -> None:
    """Call main(), say how long it took, and note it and what it was made with; say first what has changed since."""
    started, here = time.monotonic(), provenance.facts()
    if changed := provenance.differences(provenance.read(RECORD).get(name, here), here):
        print(f"{name}: the last digits may differ from those in dvc.lock, which were made with {changed}")
    main()
    seconds = time.monotonic() - started
    provenance.record(RECORD, name, here, seconds, graph())
    print(f"{name}: {seconds:.0f} s")
