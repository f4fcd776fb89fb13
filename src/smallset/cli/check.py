"""`smallset check`: compare a project with dvc.lock, byte by byte, and repair it.

DVC compares the dates of files, and never reads an object in its cache again. This command reads without DVC's lock,
so that a run can start beside it. It deletes nothing: what is damaged is moved to .dvc/tmp/broken.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath
from typing import Annotated, NamedTuple

import typer

from smallset.cli import console
from smallset.datasets import corrections
from smallset.pipeline import dvc_lock, files, git, progress, stage, text
from smallset.pipeline.dvc_project import Output, Project
from smallset.pipeline.errors import SmallsetError

FIX = "smallset check --fix"
COPY = "dvc repro, after you have copied the file from where it came from"
LOCK = dvc_lock.FILE
Fix = Annotated[bool, typer.Option("--fix", help="Repair what needs no run of a stage, then print what is left.")]


class Problem(NamedTuple):
    """What is wrong with a path, the command that repairs it, and the damaged files, which --fix moves away."""

    path: str
    message: str
    command: str = FIX  # "" when the message says what to do
    damaged: tuple[Path, ...] = ()


def check(fix: Fix = False) -> None:
    """Compare every byte of a project's files, and of DVC's cache, with the checksums in dvc.lock.

    Run it in the project's folder, for example after a crash or a disk error. DVC itself compares only dates. While DVC
    runs, its stages replace outputs, so this command asks you to wait.

    Exit code: 0 no problem, 1 problems, 2 an error.
    """
    console.print_notes(repair() if fix else ())
    problems = find_problems(repaired=fix)
    lines = (f"{path}: {message}{f'. Run: {command}' if command else ''}" for path, message, command, _ in problems)
    print(text.lines("\n".join(lines) or "All files are as dvc.lock says."))
    raise typer.Exit(int(bool(problems)))


def find_problems(repaired: bool = False) -> list[Problem]:
    """Find what is wrong with the project in this folder, and change nothing. repaired: `repair` has done its part."""
    project = _Check(repaired)
    if project.lock is None:  # DVC's commands refuse it, too
        return [Problem(str(LOCK), "is not a lock file of DVC, as after a kill while DVC wrote it")]
    problems = [*project.check_lock()]
    if not problems:  # or else dvc.lock does not tell how the other files should be
        problems = [*project.check_objects(), *project.check_outputs(), *project.check_owned()]
    project.require_rest()
    return problems


def repair() -> Iterator[str]:
    """Repair what needs no run, and yield what was done."""
    project = _Check()
    if project.lock is None or [*project.check_lock()]:
        yield f"{LOCK}: moved to {project.move_aside(LOCK)}"
        if committed := git.show(LOCK):  # DVC's run cache has what stages have done since that commit
            files.write_text(LOCK, committed)
            yield f"{LOCK}: restored from git's last commit"
    problems, project = find_problems(), _Check()
    moved = {path: project.move_aside(path) for problem in problems for path in problem.damaged}
    yield from (f"{path}: moved to {target}" for path, target in moved.items())
    if problems and project.remote:
        fetched = [output.path for output in project.outputs if output.cache and output.push]
        yield from _run_dvc("fetch", *fetched, check=False).splitlines()[-1:]
    yield from _Check().restore(moved)


class _Check(Project):
    """What is wrong with a project, and how to repair it. repaired: `repair` has done its part."""

    def __init__(self, repaired: bool = False) -> None:
        super().__init__()
        self.repaired = repaired

    def check_lock(self) -> Iterator[Problem]:
        """Name the stages of which dvc.lock has lost something that git's last commit or the files show."""
        committed = dvc_lock.parse(git.show(LOCK) or "") or {}
        for name, declaration in self.stages.items():
            entry, earlier = (self.lock or {}).get(name), committed.get(name)
            params = ({"params.yaml": [key]} if isinstance(key, str) else key for key in declaration.get("params", []))
            facts = {f"{file}: {key}" for entries in params for file, keys in entries.items() for key in keys}
            facts |= set(map(normpath, declaration.get("deps", []))) | stage.list_outputs(declaration).keys()
            if entry is None:
                if earlier or all(Path(path).exists() for path in stage.list_outputs(declaration)):
                    yield Problem(str(LOCK), f"the entry of {name} is missing")
                continue
            # When the committed entry lacks the same, somebody has edited the graph, which DVC notices.
            md5s, before = entry.deps | entry.outs, earlier.deps | earlier.outs if earlier else {}
            missing = sorted(facts - md5s.keys() - entry.params)
            if missing and (not earlier or facts <= before.keys() | earlier.params):
                yield Problem(str(LOCK), f"the entry of {name} is cut: it lacks {', '.join(missing[:3])}")
            other = sorted(path for path in md5s.keys() & before.keys() if md5s[path] != before[path])
            if other and all(self.hash(path) == before[path] for path in other):
                message = f"the entry of {name} has other checksums than git's last commit, which those files have"
                yield Problem(str(LOCK), f"{message}: {', '.join(other[:3])}")

    def check_objects(self) -> Iterator[Problem]:
        """Find damaged objects in DVC's cache, each of which is called by its md5."""
        with self.open_repo() as repo:
            objects = sorted(Path(repo.cache.local.path).glob("??/*"))
        for path in progress.bar(objects, what="DVC's cache", unit=" files", leave=False):
            md5, actual = path.parent.name + path.name, dvc_lock.hash_file(path)
            if dvc_lock.MD5.fullmatch(md5) and md5.partition(".")[0] != actual:
                message = f"is damaged: expected bytes with the md5 {md5}, found {actual or 'nothing readable'}"
                yield Problem(os.path.relpath(path), message, damaged=(path,))

    def check_outputs(self) -> Iterator[Problem]:
        """Find outputs that are missing, damaged, or not in DVC's cache, and features of other photos."""
        for output in self.outputs:
            path, uncached = Path(output.path), self.changes_of(output.path, "not_in_cache")
            changed = self.changes_of(output.path, "modified", "added", "deleted")
            again = f"dvc repro {output.stage}" if output.stage else COPY
            if not path.exists():
                if output.push or not uncached:
                    is_lost = self.repaired or (uncached and not self.remote)
                    yield Problem(output.path, "is missing", again if is_lost else FIX)
            elif not output.stage:
                yield from self._check_photos(output)
            elif changed or (not output.cache and dvc_lock.hash_file(path) != output.md5):
                names = ", ".join(sorted(changed - {output.path})[:3])
                yield Problem(output.path, f"has other bytes than dvc.lock says {names}".strip(), damaged=(path,))
            elif uncached:
                yield Problem(output.path, "is right, but DVC's cache lacks some of it", again)
        yield from self._check_features()

    def _check_photos(self, output: Output) -> Iterator[Problem]:
        """Find damaged photos, whose dates are as DVC noted them, and count what their owner has changed."""
        modified = set(filter(os.path.isfile, self.changes_of(output.path, "modified")))
        for name in sorted(modified - self.edited):
            command = COPY if self.repaired else FIX
            yield Problem(name, "has other bytes than DVC noted", command, (Path(name),))
        numbers = {kind: len(self.changes_of(output.path, kind) - {output.path}) for kind in ("added", "deleted")}
        numbers["edited"] = len(modified & self.edited)
        if counts := ", ".join(f"{number} {kind}" for kind, number in sorted(numbers.items()) if number):
            message = f"differs from {output.path}.dvc ({counts}), and the next dvc repro uses it as it is"
            yield Problem(output.path, f"{message}. After git switch, run: dvc checkout", "")
        elif not modified and self.changes_of(output.path, "not_in_cache"):
            again = f"dvc commit --force {output.path}.dvc"
            yield Problem(output.path, "is right, but DVC's cache lacks some of it", again)

    def _check_features(self) -> Iterator[Problem]:
        """Find features that are not those of the photos, although DVC takes them for up to date."""
        from smallset.datasets.dataset import TABLE, Dataset
        from smallset.features import store

        md5 = (self.lock or {}).get("features", dvc_lock.NONE).deps.get(str(TABLE))
        if store.FILE.is_file() and md5 == dvc_lock.hash_file(TABLE):
            try:
                store.Features.read(store.FILE, Dataset.read())
            except SmallsetError as error:
                problem = str(error).removeprefix(f"{store.FILE}: ").partition(". Run: ")[0]
                yield Problem(str(store.FILE), problem, damaged=(store.FILE,))

    def check_owned(self) -> Iterator[Problem]:
        """Find what a killed process has left, and decisions that no run can read."""
        from dvc.rwlock import SCHEMA
        from voluptuous import Invalid

        rwlock = self.root / ".dvc/tmp/rwlock"
        try:
            SCHEMA(json.loads(rwlock.read_text() if rwlock.is_file() else "{}"))
        except (ValueError, Invalid):
            message = "is not complete, as after a crash, and stops every dvc repro"
            yield Problem(os.path.relpath(rwlock), message, damaged=(rwlock,))
        try:
            corrections.read(corrections.FILE)
        except SmallsetError as error:
            yield Problem(str(corrections.FILE), str(error).removeprefix(f"{corrections.FILE}: "), "")
        declared = {Path(path) for entry in self.stages.values() for path in stage.list_outputs(entry)}
        drafts = {draft for folder in {Path(), *(path.parent for path in declared)} for draft in folder.glob(".part.*")}
        drafts.update(*(Path(output.path).rglob(".part.*") for output in self.outputs if not output.stage))
        checkpoints = {files.draft_path(path.with_suffix(".npz")) for path in declared if not path.exists()}
        for draft in sorted(drafts - checkpoints):
            yield Problem(str(draft), "is what a killed run left", damaged=(draft,))

    def restore(self, moved: dict[Path, str]) -> Iterator[str]:
        """Restore outputs that are missing from DVC's cache or from git, and yield what was done."""
        missing = {output.path for output in self.outputs if output.cache and not Path(output.path).exists()}
        missing |= self.changes.get("deleted", set()) & set(map(str, moved))
        if targets := sorted(path for path in missing if not self.changes_of(path, "not_in_cache")):
            _run_dvc("checkout", "--force", *targets)
            yield from (f"{path}: restored from DVC's cache" for path in targets)
        for name, md5 in ((output.path, output.md5) for output in self.outputs if not output.cache):
            content = git.run(Path.cwd(), "show", f"HEAD:./{name}", check=False)
            if not Path(name).exists() and hashlib.md5(content).hexdigest() == md5:  # noqa: S324
                git.run(Path.cwd(), "checkout", "HEAD", "--", name)
                yield f"{name}: restored from git"
        added = (output.path for output in self.outputs if not output.stage)
        deleted = {name for path in added for name in self.changes_of(path, "deleted")}
        lost = [path for path in moved if str(path) in deleted and not path.exists()]
        contents = {dvc_lock.hash_file(Path(moved[path])) for path in lost} - {""}
        for path, target in moved.items():  # and objects, without which DVC takes a damaged photo for an edited one
            if path in lost or (not path.exists() and dvc_lock.hash_file(Path(target)) in contents):
                shutil.move(target, path)
                yield f"{path}: moved back, because nothing has its right bytes"

    def move_aside(self, path: Path) -> str:
        (self.root / ".dvc/tmp/broken").mkdir(parents=True, exist_ok=True)
        target = Path(tempfile.mkdtemp(dir=self.root / ".dvc/tmp/broken", prefix=""), path.name)
        return os.path.relpath(shutil.move(path, target))


def _run_dvc(*arguments: str, check: bool = True) -> str:
    """What a DVC command prints; SmallsetError with its message when it fails and `check` is set."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SmallsetError(f"dvc {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout if check else done.stdout + done.stderr
