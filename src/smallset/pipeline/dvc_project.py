"""What DVC knows about the project in the working folder: its stages, their outputs, and what has changed.

DVC's own commands hold its lock while they read every byte, and a `dvc repro` that starts beside them fails after 3 s.
Nothing here takes the lock or changes a file.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from ruamel.yaml.error import YAMLError

from smallset.pipeline import dvc_lock, git, stage
from smallset.pipeline.errors import SmallsetError

GRAPH = Path("dvc.yaml")


class Output(NamedTuple):
    """One output of a stage, or data that `dvc add` tracks."""

    path: str
    md5: str  # as in dvc.lock or in a .dvc file
    stage: str = ""  # none for data that `dvc add` tracks
    cache: bool = True  # by DVC; otherwise git tracks it
    push: bool = True


class Project:
    """The pipeline in the working folder, and the DVC repository that it is in."""

    def __init__(self) -> None:
        roots = [folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / ".dvc").is_dir()]
        if not roots or not GRAPH.is_file():
            raise SmallsetError(f"{Path.cwd()}: expected a project, a folder with dvc.yaml in a DVC repository.")
        self.root, self._content = roots[0], _read_bytes(dvc_lock.FILE)
        self.lock = {} if self._content is None else dvc_lock.parse(self._content.decode(errors="replace"))
        self.require_rest()

    def require_rest(self) -> None:
        """SmallsetError while DVC runs, and when it has run since this object was created."""
        for process in _find_processes(self.root / ".dvc/tmp"):
            raise SmallsetError(f"DVC runs here (process {process}) and changes files. Wait until it has ended.")
        if self._content != _read_bytes(dvc_lock.FILE):
            raise SmallsetError("DVC has changed files in the meantime. Run the command again.")

    @contextmanager
    def open_repo(self, **config: str) -> Iterator[Any]:
        """DVC's interface without its lock, for which another DVC would wait 3 s and then fail."""
        from dvc.exceptions import DvcException
        from dvc.lock import LockNoop
        from dvc.repo import Repo

        try:
            with Repo(config={"core": config}) as repo:
                repo.lock = LockNoop()
                yield repo
        except DvcException as error:
            raise SmallsetError(f"DVC cannot read this project: {error}") from error

    @cached_property
    def remote(self) -> bool:
        """Whether DVC knows where to fetch files from."""
        with self.open_repo() as repo:
            return "remote" in repo.config["core"]

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The declaration of each stage; of a matrix, of each item. SmallsetError when dvc.yaml is cut or no graph."""
        graph, committed = GRAPH.read_text("utf-8"), git.show(GRAPH) or ""
        is_cut = committed.startswith(graph) and not graph.endswith("\n")
        try:
            if not is_cut or graph == committed:
                return stage.declarations()
        except (YAMLError, AttributeError, KeyError, TypeError, ValueError):
            pass
        raise SmallsetError(f"{GRAPH}: not a complete graph. Correct the file, or restore it: git checkout {GRAPH}")

    @cached_property
    def outputs(self) -> list[Output]:
        """All outputs that dvc.lock or a .dvc file describes."""
        outputs = []
        for name, declaration in self.stages.items():
            for path, settings in stage.list_outputs(declaration).items():
                if md5 := (self.lock or {}).get(name, dvc_lock.NONE).outs.get(path):
                    outputs.append(Output(path, md5, name, settings.get("cache", True), settings.get("push", True)))
        return [*outputs, *(output for file in sorted(Path().glob("?*.dvc")) for output in _read_added(file))]

    def _list_changes(self, **config: str) -> dict[str, set[str]]:
        with self.open_repo(**config) as repo:
            status = repo.data_status(granular=True, with_renames=False)
        kinds = status["uncommitted"] | {"not_in_cache": status["not_in_cache"]}
        return {kind: {os.path.relpath(self.root / path) for path in paths} for kind, paths in kinds.items()}

    @cached_property
    def changes(self) -> dict[str, set[str]]:
        """The files that are modified, added, deleted or not in DVC's cache, by their bytes."""
        with tempfile.TemporaryDirectory() as empty:  # in place of DVC's notes about dates
            return self._list_changes(site_cache_dir=empty)

    @cached_property
    def edited(self) -> set[str]:
        """The modified files whose date has changed as well: their owner has edited them."""
        return self._list_changes().get("modified", set())

    def changes_of(self, path: str, *kinds: str) -> set[str]:
        """The changes of these kinds to a path and the files below it."""
        return {name for kind in kinds for name in self.changes.get(kind, ()) if Path(name).is_relative_to(path)}

    def hash(self, path: str) -> str:
        """The md5 of a file or a folder, as DVC notes it; "" of a path that cannot be read."""
        from dvc_data.hashfile.build import build

        with self.open_repo() as repo, suppress(OSError):
            target = os.path.abspath(path)  # noqa: PTH100 - DVC follows no links
            return str(build(repo.cache.local, target, repo.fs, "md5", ignore=repo.dvcignore, dry_run=True)[2].oid)
        return ""


def _read_bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _read_added(file: Path) -> list[Output]:
    """The data that a .dvc file describes."""
    try:
        return [Output(out["path"], out["md5"]) for out in stage.parse_yaml(file.read_text("utf-8"))["outs"]]
    except (YAMLError, KeyError, TypeError, ValueError):
        raise SmallsetError(f"{file}: not complete, as after a crash. Run: git checkout {file}") from None


def _find_processes(folder: Path) -> Iterator[int]:
    """The DVC processes that run: those that hold files of a stage, and the last one that has held the lock."""
    holders, last = (_read_bytes(folder / name) or b"" for name in ("rwlock", "lock"))
    with suppress(ValueError):  # of a file that a crash has cut
        json.loads(holders)
        yield from filter(psutil.pid_exists, map(int, re.findall(rb'"pid": (\d+)', holders)))
    with suppress(ValueError, psutil.NoSuchProcess):
        words = psutil.Process(int(last)).cmdline()  # its number may be that of another program now
        if "dvc" in {Path(word).stem for word in words}:
            yield int(last)
