"""Run a stage under DVC: its params, one clear error, and a record of what its results were made with."""

import errno
import hashlib
import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module, metadata
from itertools import product
from pathlib import Path
from posixpath import normpath
from typing import Any

from ruamel.yaml import YAML

from smallset.pipeline import cluster, dvc_lock, files, params, process, provenance, text, watchdog
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError

RECORD = Path("metrics/provenance.json")  # what the results in dvc.lock were made with; git tracks it, DVC does not
LOG = Path("data/runs.jsonl")  # the time and the machine of every run; neither git nor DVC tracks it
OUTPUT_KINDS = ("outs", "metrics", "plots")  # the keys of a stage's outputs in dvc.yaml
CONTINUE = "Continue with: dvc repro"


def run(main: Callable[[], None]) -> None:
    """Call a stage's main() and print how long it took, or its error without a traceback.

    The process ends when DVC ends, and on SIGTERM and Ctrl-C, each time with one line.
    """
    process.prepare()
    name = stage_name() or Path(sys.argv[0]).stem
    if stage_name():
        watchdog.start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"\n{name}: ended by SIGTERM. {CONTINUE}"))
    try:
        check_version()
        _run_and_record(main, name)
    except KeyboardInterrupt:
        sys.exit(f"\n{name}: interrupted. {CONTINUE}")
    except MemoryError as error:
        sys.exit(f"\n{name}: not enough memory. {error} Close other programs, or use a smaller batch_size.")
    except (SmallsetError, OSError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = ". The disk is full: free some space, then run: dvc repro" if full else ""
        sys.exit(f"\n{name}: {text.lines(error)}{remedy}{_restore_hint(name)}")
    except Exception as error:
        if not (wrapped := re.search(r"SmallsetError: (.*)", str(error))):  # in an error of TensorFlow's input pipeline
            raise
        sys.exit(f"\n{name}: {text.lines(wrapped[1])}. Run: smallset check --fix, then: dvc repro")


def run_module(name: str, *arguments: str) -> None:
    """Run the stage `smallset.stages.<name>`, whose main() takes the arguments; `smallset run` calls this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # TensorFlow's import swallows a KeyboardInterrupt
    with process.silence_stderr():
        module = import_module(f"smallset.stages.{name}")
    run(lambda: module.main(*arguments))


def check_version() -> None:
    """SmallsetError when params.yaml pins another version of smallset than the installed one."""
    installed = metadata.version("smallset")
    pinned = str(params.load(Path("params.yaml")).get("smallset", installed))
    if pinned != installed:
        raise SmallsetError(
            f"params.yaml pins smallset {pinned}, but smallset {installed} is installed. "
            f"Run: pip install -r requirements.txt, or move the project to {installed}: smallset upgrade"
        )


def graph() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml by name; the variable `root` is replaced by its value."""
    document = Path("dvc.yaml").read_text(encoding="utf-8")
    roots = [entry["root"] for entry in parse_yaml(document).get("vars", []) if "root" in entry]
    return parse_yaml(document.replace("${root}", roots[0] if roots else "."))["stages"]


def parse_yaml(document: str) -> dict[str, Any]:
    """Parse YAML 1.2, as DVC does."""
    return YAML(typ="safe").load(document)


def stage_name() -> str:
    """The name of the stage that DVC runs, as subset or evaluate@convnet; "" when DVC does not run this process."""
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2]  # sample/dvc.yaml:subset in `dvc repro --all-pipelines`


def declaration(name: str, stages: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """What dvc.yaml says about a stage; of a matrix stage, as evaluate@convnet, with the item in place of ${item.…}."""
    name, _, item = name.partition("@")
    return json.loads(re.sub(r"\$\{item[^}]*\}", item, json.dumps((stages or graph()).get(name, {}))))


def load_params() -> params.Params:
    """The params that dvc.yaml declares for the stage, each from the file that dvc.yaml names for it.

    Reading a key that is not declared raises AttributeError.
    """
    if not stage_name():
        raise SmallsetError("DVC must run a stage, because dvc.yaml lists its params. Run: dvc repro")
    params.read(Path("params.yaml"))  # all of it has to be right
    document: dict[str, Any] = {}
    names: list[str] = []
    for entry in declaration(stage_name()).get("params", []):
        for file, keys in ({"params.yaml": [entry]} if isinstance(entry, str) else entry).items():
            wanted = {key.partition(".")[0] for key in keys}
            document |= {key: value for key, value in params.load(Path(file)).items() if key in wanted}
            names += keys
    return params.parse(document).only(names)


def checkpoint(output: Path) -> Checkpoint:
    """Where the stage keeps intermediate results for `output`.

    A run with other params, deps, arguments, packages or another processor ignores them.
    """
    p, deps = load_params(), declaration(stage_name()).get("deps", [])
    inputs = (stage_name(), sys.argv[1:], p, provenance.facts(), digest(map(Path, deps)))
    return Checkpoint(files.draft_path(output.with_suffix(".npz")), hashlib.sha256(repr(inputs).encode()).hexdigest())


def declarations() -> dict[str, dict[str, Any]]:
    """What dvc.yaml says about each stage; of a matrix, about each item."""
    stages = graph()
    matrices = {name: product(*entry.get("matrix", {}).values()) for name, entry in stages.items()}
    names = ["@".join([name, *["-".join(item)][: len(item)]]) for name, items in matrices.items() for item in items]
    return {name: declaration(name, stages) for name in names}


def list_outputs(declaration: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The paths of a stage's outputs with their settings, as {"cache": False}."""
    entries = [entry for kind in OUTPUT_KINDS for entry in declaration.get(kind, [])]
    items = [(entry, {}) if isinstance(entry, str) else next(iter(entry.items())) for entry in entries]
    return {normpath(path): settings for path, settings in items}


def digest(paths: Iterable[Path]) -> str:
    """The sha256 of the names and the bytes of all files at and below the paths."""
    total = hashlib.sha256()
    for path in (file for top in paths for file in ([top] if top.is_file() else sorted(top.rglob("*")))):
        if path.is_file() and path.parent.name != "__pycache__":
            total.update(f"{path.as_posix()} {files.sha256(path)}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def _run_and_record(main: Callable[[], None], name: str) -> None:
    started, facts = time.monotonic(), provenance.facts()
    if differences := provenance.differences(provenance.read(RECORD).get(name, facts), facts):
        print(f"{name}: the last digits may differ from the results in dvc.lock, which were made with {differences}")
    main()
    seconds, facts = time.monotonic() - started, facts | cluster.workers()
    provenance.log(LOG, name, facts, seconds)
    if stage_name():
        provenance.record(RECORD, name, facts, digest(map(Path, list_outputs(declaration(name)))), graph())
    print(f"{name}: {seconds:.0f} s")


def _restore_hint(name: str) -> str:
    """How to get back earlier outputs, which DVC removes before a run; "" when nothing is missing."""
    entry = dvc_lock.read().get(name, dvc_lock.NONE)
    missing = [path for path in entry.outs if not Path(path).exists()]
    outputs = list_outputs(declaration(name)) if missing else {}
    missing = [path for path in missing if outputs.get(path, {"cache": False}).get("cache", True)]
    return f"\nDVC's cache has its last outputs. Run: dvc checkout {shlex.join(missing)}" if missing else ""
