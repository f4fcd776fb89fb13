"""`smallset check`: whether a project is what dvc.lock says, to the byte.

DVC goes by the dates of files, and trusts what it has in its cache for ever.
"""

import hashlib
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo, lock_repo
from dvc.stage import PipelineStage, Stage
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from smallset.cli import locks
from smallset.datasets import lists, scan
from smallset.evaluation import changes
from smallset.pipeline import progress
from smallset.pipeline.errors import SmallsetError

FIX = "smallset check --fix"
OWN = "dvc repro, after you have brought it from where it came: neither DVC nor a stage has it"
LISTS = Path("metrics/subset")
SUBSET = Path("data/subset")
CACHES = ("data/*.npy", "data/*/*.npy", "data/*/*/*.npy")
UNREADABLE = "nothing: the disk does not give it"

Md5s = dict[str, str]  # path below a folder, "" for a file itself, to the md5 of its bytes


@dataclass(frozen=True)
class Fault:
    """What is wrong, and the command that heals it."""

    place: str
    what: str
    cure: str


@dataclass(frozen=True)
class Damage:
    """An output that is gone, of other bytes than dvc.lock says, or not in DVC's cache."""

    out: Output
    kind: Literal["gone", "other", "uncached"]
    files: tuple[str, ...] = ()  # those with other bytes, as in Md5s

    @property
    def place(self) -> str:
        """The output's path from here."""
        return os.path.relpath(self.out.fs_path)


@dataclass
class Project:
    """The pipeline of this folder, and the DVC cache of its repository."""

    repo: Repo
    md5s: dict[tuple[int, ...], str] = field(
        default_factory=dict
    )  # by device, inode, size and date: links are read once

    @cached_property
    def stages(self) -> list[Stage]:
        """Those of this folder's dvc.yaml and .dvc files."""
        return [stage for stage in self.repo.index.stages if Path(stage.path).parent == Path.cwd()]

    @cached_property
    def graph(self) -> list[PipelineStage]:
        """Those of dvc.yaml."""
        return [stage for stage in self.stages if isinstance(stage, PipelineStage)]

    @cached_property
    def outs(self) -> list[Output]:
        """What dvc.lock or a .dvc file knows the md5 of."""
        return [out for stage in self.stages for out in stage.outs if out.hash_info]

    @cached_property
    def objects(self) -> dict[str, str]:
        """What is in DVC's cache: the md5 that an object should have to the one that it has."""
        cache = self.repo.cache.local
        with progress.bar(sorted(cache.all()), what="DVC's cache", unit=" files", leave=False) as bar:
            return {oid: self.md5(cache.oid_to_path(oid)) for oid in bar}

    @cached_property
    def damages(self) -> list[Damage]:
        """Outputs that are not as they should be."""
        with progress.bar(self.outs, what="outputs", unit=" outputs", leave=False) as bar:
            return [damage for out in bar if (damage := self.damage(out))]

    def md5(self, path: str) -> str:
        """Of the bytes that are there now, whatever DVC has noted of them."""
        try:
            own = os.stat(path)  # noqa: PTH116
            key = (own.st_dev, own.st_ino, own.st_size, own.st_mtime_ns)
            if key not in self.md5s:
                with open(path, "rb") as file:  # noqa: PTH123
                    self.md5s[key] = hashlib.file_digest(file, "md5").hexdigest()
            return self.md5s[key]
        except OSError:
            return UNREADABLE

    def good(self, oid: str) -> bool:
        """Whether DVC's cache has this object, undamaged."""
        return self.objects.get(oid) == oid.partition(".")[0]

    def expected(self, out: Output) -> Md5s | None:
        """What dvc.lock says; None of a folder whose list of files is not in the cache, or damaged."""
        oid = out.hash_info.value
        if not out.hash_info.isdir:
            return {"": oid}
        if not self.good(oid):
            return None
        return {"/".join(key): str(own.value) for key, _, own in Tree.load(self.repo.cache.local, out.hash_info) if own}

    def found(self, out: Output) -> Md5s:
        """What is there, without files that .dvcignore names."""
        if not out.isdir():
            return {"": self.md5(out.fs_path)}
        paths = self.repo.dvcignore.find(out.fs, out.fs_path)
        return {Path(os.path.relpath(path, out.fs_path)).as_posix(): self.md5(path) for path in paths}

    def cached(self, out: Output) -> bool:
        """Whether DVC's cache has all of an output, undamaged."""
        expected = self.expected(out) if out.use_cache else None
        return expected is not None and all(map(self.good, [out.hash_info.value, *expected.values()]))

    @cached_property
    def lost(self) -> set[str]:
        """Damaged objects of what no stage makes: photos whose right bytes only their owner has, or a remote."""
        sources = [out for out in self.outs if out.stage.is_data_source and out.exists]
        return {
            oid
            for out, found in ((out, self.found(out)) for out in sources)
            for path, oid in (self.expected(out) or {}).items()
            if oid in self.objects and not self.good(oid) and found.get(path) != oid
        }

    @property
    def remote(self) -> bool:
        """Whether `dvc pull` has a place to pull from."""
        return bool(self.repo.config["core"].get("remote"))

    def damage(self, out: Output) -> Damage | None:
        """What is wrong with an output, if anything."""
        if not out.exists:
            return Damage(out, "gone") if out.can_push or self.cached(out) else None
        expected, found = self.expected(out), self.found(out)
        if digest(found) == out.hash_info.value:
            return Damage(out, "uncached") if out.use_cache and not self.cached(out) else None
        wrong = sorted(path for path in {*found, *(expected or {})} if found.get(path) != (expected or {}).get(path))
        if out.stage.is_data_source:  # its owner may change it, and DVC sees that
            wrong = [path for path in wrong if expected and self.rotten(out, path, expected, found)]
        return Damage(out, "other", tuple(wrong)) if wrong else None

    def rotten(self, out: Output, path: str, expected: Md5s, found: Md5s) -> bool:
        """Whether a file has other bytes and DVC does not know, or those of the damaged object that it is linked to."""
        if path not in found or path not in expected:
            return False
        _, noted = self.repo.state.get(str(Path(out.fs_path) / path), out.fs)
        return self.objects.get(expected[path]) == found[path] or (noted is not None and noted.value == expected[path])


def digest(found: Md5s) -> str:
    """The md5 that DVC gives to these files as one output."""
    if [*found] == [""]:
        return found[""]
    tree = Tree()  # type: ignore[no-untyped-call]
    for path, md5 in found.items():
        tree.add(tuple(path.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    return str(tree.hash_info.value)


@contextmanager
def opened() -> Iterator[Repo]:
    """The DVC repository of this folder, while no other process changes it."""
    try:
        with Repo() as repo, lock_repo(repo):
            yield repo
    except DvcException as error:
        raise SmallsetError(f"{Path.cwd()}: {error}") from error


def faults() -> list[Fault]:
    """All that is wrong; nothing is changed."""
    with opened() as repo:
        own = locks.now()
        if own is None:
            return [Fault(str(locks.LOCK), "is no lock file of DVC's, as after a kill while it was written", FIX)]
        project = Project(repo)
        cut = locks.cut(project.graph, own, locks.before())
        return [
            *(Fault(str(locks.LOCK), f"{name}: {what}", FIX) for name, what in cut),
            *(of_object(project, oid) for oid in project.objects if not project.good(oid)),
            *(of_output(project, damage) for damage in project.damages),
            *(Fault(str(path), what, FIX) for path, what in strayed().items()),
        ]


def of_object(project: Project, oid: str) -> Fault:
    """What is wrong with an object of DVC's cache."""
    place = os.path.relpath(project.repo.cache.local.oid_to_path(oid))
    cure = OWN if oid in project.lost and not project.remote else FIX
    return Fault(place, f"is damaged: expected bytes with the md5 {oid}, found {project.objects[oid]}", cure)


def of_output(project: Project, damage: Damage) -> Fault:
    """What is wrong with an output."""
    if damage.kind == "gone":
        return Fault(damage.place, "is not there", back(project, damage))
    if damage.kind == "uncached":
        return Fault(damage.place, "is as it should be, but DVC's cache does not have it whole", FIX)
    which = f": {scan.some(damage.files)}" if damage.files != ("",) else ""
    lost = damage.out.stage.is_data_source and project.lost and not project.remote
    return Fault(damage.place, f"has other bytes than dvc.lock says{which}", OWN if lost else FIX)


def back(project: Project, damage: Damage) -> str:
    """The command that brings an output back."""
    place, stage = shlex.quote(damage.place), damage.out.stage
    if project.cached(damage.out):
        return f"dvc checkout {place}"
    again = "" if stage.is_data_source else f"dvc repro {shlex.quote(stage.addressing)}"
    pull = f"dvc pull {place}" if project.remote and damage.out.use_cache else ""
    return ", or ".join(filter(None, (pull, again))) or OWN


def strayed() -> dict[Path, str]:
    """Caches of values for the photos whose rows are not those of the split's list now."""
    paths = [path for pattern in CACHES for path in Path().glob(pattern) if path.with_suffix(".csv").is_file()]
    return {path: what for path in sorted(paths) if (what := astray(path))}


def astray(path: Path) -> str:
    """What is wrong with the rows of a cache; "" where they are right."""
    from smallset.features import caches  # TensorFlow takes seconds

    split = path.stem if path.stem in changes.SPLITS else "test"
    try:
        caches.read(path, lists.read(LISTS / f"{split}.csv", SUBSET / split))
    except SmallsetError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


def report(found: list[Fault]) -> str:
    """A line for each fault, with its cure."""
    return "\n".join(f"{one.place}: {one.what}. Run: {one.cure}" for one in found) or "All is as dvc.lock says."
