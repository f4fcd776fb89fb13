"""What each stage script needs around its main(): its params, one clear error, and a note of what it was made with."""

import errno
import gc
import hashlib
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from smallset.pipeline import cluster, files, params, provenance, text
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError

RECORD = Path("metrics/provenance.json")  # what each stage's results in dvc.lock were made with; git's, not DVC's
LOG = Path("data/runs.jsonl")  # every run's time and machine; nobody's
OUTPUTS = ("outs", "metrics", "plots")  # the keys of what a stage makes, in dvc.yaml


@cache
def graph() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml, with the root that its vars name put in; read once in a process."""
    text = Path("dvc.yaml").read_text(encoding="utf-8")
    [root] = [entry["root"] for entry in load(text).get("vars", []) if "root" in entry] or ["."]
    stages: dict[str, dict[str, Any]] = load(text.replace("${root}", root))["stages"]
    return stages


def load(text: str) -> dict[str, Any]:
    """A YAML document as DVC reads it."""
    return YAML(typ="safe", pure=True).load(text)


def declared() -> dict[str, Any]:
    """What dvc.yaml says of the stage that DVC is running (its name is in DVC_STAGE)."""
    # subset, evaluate@convnet, or sample/dvc.yaml:subset when DVC runs all pipelines
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")[0]
    if not name:
        raise SmallsetError("A stage is run by DVC, which knows its params: dvc repro")
    return graph()[name]


def load_params() -> params.Params:
    """The params that dvc.yaml declares for the stage."""
    return params.read(Path("params.yaml")).only(declared().get("params", []))


def checkpoint(output: Path, p: params.Params | None = None, data: Sequence[Path] | None = None) -> Checkpoint:
    """Where the stage, on its way to `output`, keeps what it has done, for a run with the same params and deps.

    p, data: those that `output` depends on, where the stage has others for what it makes of it.
    """
    deps = map(Path, declared()["deps"]) if data is None else data
    inputs = repr((sys.argv, p or load_params(), provenance.facts(), digest(deps)))
    return Checkpoint(files.draft_path(output.with_suffix(".npz")), hashlib.sha256(inputs.encode()).hexdigest())


def code(rooms: Iterable[str]) -> list[Path]:
    """The script that runs, and those rooms of src/smallset among the deps of the stage."""
    deps = map(Path, declared()["deps"])
    return [Path(sys.argv[0]), *(path for path in deps if path.parent.name == "smallset" and path.name in rooms)]


def made(item: str) -> list[Path]:
    """What dvc.yaml says that the stage makes. item: of a matrix, as convnet."""
    outputs = [out for kind in OUTPUTS for out in declared().get(kind, [])]
    names = [out if isinstance(out, str) else next(iter(out)) for out in outputs]
    return [Path(name.replace("${item.model}", item)) for name in names]


def digest(paths: Iterable[Path]) -> str:
    """sha256 over the names and the bytes of all files at and below the paths."""
    total = hashlib.sha256()
    for path in (path for top in paths for path in below(top)):
        total.update(f"{path.as_posix()} {files.sha256(path)}\n".encode())
    return total.hexdigest()


def below(path: Path) -> Iterator[Path]:
    """The file, or the files of the folder and its folders, in order; what Python compiles is left out."""
    found = [path] if path.is_file() else sorted(inner for inner in path.rglob("*") if inner.is_file())
    return (inner for inner in found if inner.parent.name != "__pycache__")


def run(main: Callable[[], None]) -> None:
    """Call main(); print how long it took, or the error without its traceback. End on SIGTERM."""
    name = called()
    gc.freeze()  # what the imports made
    gc.enable()
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
        cure = ". The disk is full: make room, then dvc repro" if full else ""
        sys.exit(f"\n{name}: {text.lines(error)}{cure}{kept(name)}")
    except Exception as error:
        if not (inner := re.search(r"SmallsetError: (.*)", str(error))):  # what TensorFlow's input pipeline wraps
            raise
        sys.exit(f"\n{name}: {text.lines(inner[1])}. Run: dvc repro --force subset")


def kept(name: str) -> str:
    """How to have back what the stage had made, which DVC takes away before a run; "" where nothing is gone."""
    try:
        outputs = [out for kind in OUTPUTS for out in graph().get(name, {}).get(kind, [])]
        known = load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"][name]["outs"]
    except (OSError, YAMLError, KeyError, TypeError):
        return ""
    cached = [path for out in outputs for path in ([out] if isinstance(out, str) else in_cache(out))]
    gone = [out["path"] for out in known if out["path"] in cached and not Path(out["path"]).exists()]
    return f"\nDVC's cache has what it had made before: dvc checkout {shlex.join(gone)}" if gone else ""


def in_cache(out: dict[str, dict[str, Any]]) -> list[str]:
    """The path of an output with settings, if DVC caches it."""
    return [path for path, settings in out.items() if settings.get("cache", True)]


def called() -> str:
    """The stage's name; of a stage of several commands only the last is called so, the others as their scripts."""
    script, name = Path(sys.argv[0]), os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    if not name:
        return script.stem
    commands = declared()["cmd"]
    return name if isinstance(commands, str) or script.name in commands[-1] else script.stem


def recorded(main: Callable[[], None], name: str) -> None:
    """Call main(), say how long it took, and note it and what it was made with; say first what has changed since."""
    started, here = time.monotonic(), provenance.facts()
    if changed := provenance.differences(provenance.read(RECORD).get(name, here), here):
        print(f"{name}: the last digits may differ from those in dvc.lock, which were made with {changed}")
    main()
    seconds = time.monotonic() - started
    with_place = here | cluster.ran()
    provenance.log(LOG, name, with_place, seconds)
    if name.partition("@")[0] in graph():
        provenance.record(RECORD, name, with_place, digest(made(name.partition("@")[2])), graph())
    print(f"{name}: {seconds:.0f} s")
