"""`smallset check`: compare a project with dvc.lock, byte by byte, and repair it.

DVC compares the dates of files, and never reads an object in its cache again. This command only reads files and calls
DVC's public commands. It deletes nothing: what is damaged is moved to .dvc/tmp/broken.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from posixpath import normpath
from typing import Annotated, Any, NamedTuple

import psutil
import typer
from ruamel.yaml.error import YAMLError

from smallset.cli import console
from smallset.pipeline import files, git, progress, stage, text
from smallset.pipeline.errors import SmallsetError

FIX = "smallset check --fix"
COPY = "dvc repro, after you have copied the file from where it came from"
LOCK = Path("dvc.lock")
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
Fix = Annotated[bool, typer.Option("--fix", help="Repair what needs no run of a stage, then print what is left.")]


class Problem(NamedTuple):
    """What is wrong with a path, the command that repairs it, and the damaged files, which --fix moves away."""

    path: str
    message: str
    command: str = FIX
    damaged: tuple[Path, ...] = ()


class _Output(NamedTuple):
    path: str
    md5: str  # as in dvc.lock or in a .dvc file
    stage: str = ""  # none for data that `dvc add` tracks
    cache: bool = True  # by DVC; otherwise git tracks it
    push: bool = True


def check(fix: Fix = False) -> None:
    """Compare every byte of a project's files, and of DVC's cache, with the checksums in dvc.lock.

    Run it in the project's folder, for example after a crash or a disk error. DVC itself compares only dates.

    Exit code: 0 no problem, 1 problems, 2 an error.
    """
    console.print_notes(repair() if fix else ())
    problems = find_problems()
    lines = [f"{problem.path}: {problem.message}. Run: {problem.command}" for problem in problems]
    print(text.lines("\n".join(lines) or "All files are as dvc.lock says."))
    raise typer.Exit(int(bool(problems)))


def find_problems() -> list[Problem]:
    """Find what is wrong with the project in this folder, and change nothing."""
    project = _Project()
    if project.lock is None:  # DVC's commands refuse it, too
        return [Problem(str(LOCK), "is not a lock file of DVC, as after a kill while DVC wrote it")]
    return [*project.check_lock(), *project.check_objects(), *project.check_outputs(), *project.check_features()]


def repair() -> Iterator[str]:
    """Repair what needs no run, and yield what was done."""
    project = _Project()
    if project.lock is None or [*project.check_lock()]:
        yield f"{LOCK}: moved to {project.move_aside(LOCK)}"
        if committed := git.show(LOCK):  # DVC's run cache has what stages have done since that commit
            files.write_text(LOCK, committed)
            yield f"{LOCK}: restored from git's last commit"
    problems, project = find_problems(), _Project()
    moved = {path: project.move_aside(path) for problem in problems for path in problem.damaged}
    yield from (f"{path}: moved to {target}" for path, target in moved.items())
    if problems and _run_dvc("config", "core.remote", check=False).strip():
        fetched = [output.path for output in project.outputs if output.cache and output.push]
        yield from _run_dvc("fetch", *fetched, check=False).splitlines()[-1:]
    yield from _Project().restore(moved)


class _Project:
    """The pipeline in the working folder, and the DVC cache of its repository."""

    def __init__(self) -> None:
        roots = [folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / ".dvc").is_dir()]
        if not roots or not Path("dvc.yaml").is_file():
            raise SmallsetError(f"{Path.cwd()}: expected a project, a folder with dvc.yaml in a DVC repository.")
        self.root, lock = roots[0], LOCK.read_bytes().decode(errors="replace") if LOCK.is_file() else None
        self.lock = {} if lock is None else _parse_lock(lock)
        for process in re.findall(r'"pid": (\d+)', "".join(map(Path.read_text, self.root.glob(".dvc/tmp/rwlock")))):
            if psutil.pid_exists(int(process)):
                raise SmallsetError(f"DVC runs here (process {process}) and changes files. Wait until it has ended.")

    @cached_property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The declaration of each stage; of a matrix, of each item."""
        matrices = {name: product(*entry.get("matrix", {}).values()) for name, entry in stage.graph().items()}
        names = ["@".join([name, *["-".join(item)][: len(item)]]) for name, items in matrices.items() for item in items]
        return {name: stage.declaration(name) for name in names}

    @cached_property
    def outputs(self) -> list[_Output]:
        outputs = []
        for name, declaration in self.stages.items():
            for path, settings in stage.list_outputs(declaration).items():
                if entry := (self.lock or {}).get(name, {}).get(path):
                    cache, push = settings.get("cache", True), settings.get("push", True)
                    outputs.append(_Output(path, entry["md5"], name, cache, push))
        documents = (stage.parse_yaml(file.read_text("utf-8")) for file in sorted(Path().glob("?*.dvc")))
        return [*outputs, *(_Output(out["path"], out["md5"]) for document in documents for out in document["outs"])]

    @cache  # noqa: B019 - a project lives as long as the process
    def list_changes(self, by_bytes: bool = True) -> dict[str, set[str]]:
        """The files that are modified, added, deleted or not in DVC's cache; without `by_bytes` by their dates."""
        with tempfile.TemporaryDirectory() as empty:  # in place of DVC's notes about dates
            status = json.loads(_run_dvc("data", "status", "--granular", "--json", notes=empty if by_bytes else None))
        kinds = status.get("uncommitted", {}) | {"not_in_cache": status.get("not_in_cache", [])}
        return {kind: {os.path.relpath(self.root / path) for path in paths} for kind, paths in kinds.items()}

    def changes_of(self, path: str, *kinds: str) -> set[str]:
        changes = self.list_changes()
        return {name for kind in kinds for name in changes.get(kind, ()) if Path(name).is_relative_to(path)}

    def check_lock(self) -> Iterator[Problem]:
        """Name the stages of which dvc.lock has lost something that git's last commit or the outputs show."""
        committed = _parse_lock(git.show(LOCK) or "") or {}
        for name, declaration in self.stages.items():
            entry, earlier = (self.lock or {}).get(name), committed.get(name)
            params = ({"params.yaml": [key]} if isinstance(key, str) else key for key in declaration.get("params", []))
            facts = {f"{file}: {key}" for entries in params for file, keys in entries.items() for key in keys}
            facts |= set(map(normpath, declaration.get("deps", []))) | stage.list_outputs(declaration).keys()
            if entry is None:
                if earlier or all(Path(path).exists() for path in stage.list_outputs(declaration)):
                    yield Problem(str(LOCK), f"the entry of {name} is missing")
            # When the committed entry lacks the same, somebody has edited the graph, which DVC notices.
            elif (missing := sorted(facts - entry.keys())) and (not earlier or facts <= earlier.keys()):
                yield Problem(str(LOCK), f"the entry of {name} is cut: it lacks {', '.join(missing[:3])}")

    def check_objects(self) -> Iterator[Problem]:
        """Find damaged objects in DVC's cache, each of which is called by its md5."""
        objects = sorted(Path(_run_dvc("cache", "dir").strip(), "files/md5").glob("??/*"))
        for path in progress.bar(objects, what="DVC's cache", unit=" files", leave=False):
            md5, actual = path.parent.name + path.name, _hash(path)
            if MD5.fullmatch(md5) and md5.partition(".")[0] != actual:
                message = f"is damaged: expected bytes with the md5 {md5}, found {actual or 'nothing readable'}"
                yield Problem(os.path.relpath(path), message, damaged=(path,))

    def check_outputs(self) -> Iterator[Problem]:
        """Find outputs that are missing, damaged, or not in DVC's cache, and drafts beside those that are finished."""
        for output in self.outputs:
            path, uncached = Path(output.path), self.changes_of(output.path, "not_in_cache")
            changed = self.changes_of(output.path, "modified", "added", "deleted")
            if not path.exists():
                if output.push or not uncached:
                    again = f"dvc repro {output.stage}" if output.stage else COPY
                    yield Problem(output.path, "is missing", f"{FIX}, or {again}")
                continue
            if not output.stage and (modified := self.changes_of(output.path, "modified")):
                modified -= self.list_changes(by_bytes=False).get("modified", set())  # what its owner has changed
                for name in filter(os.path.isfile, sorted(modified)):
                    yield Problem(name, "has other bytes than DVC noted", f"{FIX}, or {COPY}", (Path(name),))
            elif output.stage and (changed or (not output.cache and _hash(path) != output.md5)):
                names = ", ".join(sorted(changed - {output.path})[:3])
                yield Problem(output.path, f"has other bytes than dvc.lock says {names}".strip(), damaged=(path,))
            elif uncached:
                again = f"dvc repro {output.stage}" if output.stage else f"dvc commit --force {output.path}.dvc"
                yield Problem(output.path, "is right, but DVC's cache lacks some of it", again)
            for draft in filter(Path.exists, {files.draft_path(path), files.draft_path(path.with_suffix(".npz"))}):
                yield Problem(str(draft), "is what a killed run left, and a later run has ended", damaged=(draft,))

    def check_features(self) -> Iterator[Problem]:
        """Find features that are not those of the photos, although DVC takes them for up to date."""
        from smallset.datasets.dataset import TABLE, Dataset
        from smallset.features import store

        table = (self.lock or {}).get("features", {}).get(str(TABLE), {})
        if store.FILE.is_file() and table.get("md5") == _hash(TABLE):
            try:
                store.Features.read(store.FILE, Dataset.read())
            except SmallsetError as error:
                yield Problem(str(store.FILE), str(error).removeprefix(f"{store.FILE}: "), damaged=(store.FILE,))

    def restore(self, moved: dict[Path, str]) -> Iterator[str]:
        """Restore outputs that are missing from DVC's cache or from git, and yield what was done."""
        missing = {output.path for output in self.outputs if output.cache and not Path(output.path).exists()}
        missing |= self.list_changes().get("deleted", set()) & set(map(str, moved))
        if targets := sorted(path for path in missing if not self.changes_of(path, "not_in_cache")):
            _run_dvc("checkout", "--force", *targets)
            yield from (f"{path}: restored from DVC's cache" for path in targets)
        for name, md5 in ((output.path, output.md5) for output in self.outputs if not output.cache):
            content = git.run(Path.cwd(), "show", f"HEAD:./{name}", check=False)
            if not Path(name).exists() and hashlib.md5(content).hexdigest() == md5:  # noqa: S324
                git.run(Path.cwd(), "checkout", "HEAD", "--", name)
                yield f"{name}: restored from git"
        sources = [Path(output.path) for output in self.outputs if not output.stage]
        lost = [path for path in moved if not path.exists() and any(map(path.is_relative_to, sources))]
        contents = {_hash(Path(moved[path])) for path in lost} - {""}
        for path, target in moved.items():  # and objects, without which DVC takes a damaged photo for an edited one
            if path in lost or (not path.exists() and _hash(Path(target)) in contents):
                shutil.move(target, path)
                yield f"{path}: moved back, because nothing has its right bytes"

    def move_aside(self, path: Path) -> str:
        (self.root / ".dvc/tmp/broken").mkdir(parents=True, exist_ok=True)
        target = Path(tempfile.mkdtemp(dir=self.root / ".dvc/tmp/broken", prefix=""), path.name)
        return os.path.relpath(shutil.move(path, target))


def _run_dvc(*arguments: str, check: bool = True, notes: str | None = None) -> str:
    """What a DVC command prints; SmallsetError with its message when it fails and `check` is set."""
    command, variables = [sys.executable, "-m", "dvc", *arguments], {"DVC_SITE_CACHE_DIR": notes} if notes else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)
    if check and done.returncode:
        raise SmallsetError(f"dvc {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout if check else done.stdout + done.stderr


def _parse_lock(content: str) -> dict[str, dict[str, Any]] | None:
    """What a dvc.lock says about each stage, by path or as "params.yaml: key"; None when DVC refuses the file."""
    entries = dict[str, dict[str, Any]]()
    try:
        document = stage.parse_yaml(content)
        for name, entry in document.get("stages", {}).items() if document["schema"] else ():
            items = [*entry.get("deps", []), *entry.get("outs", [])]
            entries[name] = {normpath(item["path"]): item for item in items if MD5.fullmatch(str(item.get("md5")))}
            entries[name] |= {f"{file}: {key}": {} for file, keys in entry.get("params", {}).items() for key in keys}
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError):
        return None
    return entries


def _hash(path: Path) -> str:
    """The md5 of a file's bytes; "" of a file that cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
    return ""
