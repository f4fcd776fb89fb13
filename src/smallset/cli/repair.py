"""`smallset check --fix`: what is damaged comes again from git, DVC's cache or the remote, or makes room for a new run.

Nothing is deleted: what is damaged is moved to .dvc/tmp/broken.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dvc.exceptions import DvcException

from smallset.cli import checking, locks
from smallset.cli.checking import Damage, Project
from smallset.pipeline import files, git


def heal() -> list[str]:
    """Do what can be done without a run; return what was done."""
    return [*heal_lock(), *heal_data()]


def heal_lock() -> Iterator[str]:
    """The entries of dvc.lock that are gone or cut, from git's HEAD."""
    with checking.opened() as repo:
        own, earlier = locks.now(), locks.before()
        if own is None:
            locks.restore()
            yield "dvc.lock: is git's again"
            return
        cut = [name for name, _ in locks.cut(Project(repo).graph, own, earlier)]
        if cut:
            locks.mend(cut, own, earlier)
            yield f"dvc.lock: has the entries that git has of {', '.join(cut)}"


def heal_data() -> Iterator[str]:
    """Objects, outputs and caches."""
    with checking.opened() as repo:
        project = Project(repo)
        photos = [one for one in project.damages if one.out.stage.is_data_source and one.kind == "other"]
        bad = [oid for oid in project.objects if not project.good(oid)]
        moved = {oid: aside(project, repo.cache.local.oid_to_path(oid)) for oid in bad}
        yield from (f"{repo.cache.local.oid_to_path(oid)}: moved to {target}" for oid, target in moved.items())
        without = Project(repo, project.md5s)  # the broken objects
        yield from fetched(without)
        for damage in photos:  # of the time when the objects that they are linked to were there: else an owner's change
            yield from restore(Project(repo, project.md5s), damage)
        after = Project(repo, project.md5s)
        for damage in after.damages:
            yield from restore(after, damage)
        for oid in project.lost & set(moved):
            if not Path(place := repo.cache.local.oid_to_path(oid)).exists():
                shutil.move(moved[oid], place)  # DVC would take the damaged photo for its owner's change
                yield f"{place}: is back in its place; nothing has its right bytes"
        for path in checking.strayed():
            yield f"{path}: moved to {aside(project, str(path))}"


def fetched(project: Project) -> Iterator[str]:
    """Get what the cache lacks from the remote, if there is one that has it."""
    places = [os.path.relpath(out.fs_path) for out in project.outs if out.use_cache and not project.cached(out)]
    if not places or not project.remote:
        return
    try:
        count = project.repo.fetch(targets=places)
    except DvcException as error:
        yield f"the remote does not have all: {error}"
    else:
        yield f"{count} files from the remote"


def restore(project: Project, damage: Damage) -> Iterator[str]:
    """Bring an output to what dvc.lock says, or out of the way of the stage that makes it."""
    out = damage.out
    if damage.kind == "uncached":
        with suppress(DvcException):
            out.commit(relink=False)
            yield f"{damage.place}: is in DVC's cache again"
    elif not out.use_cache:
        yield from from_git(project, damage)
    elif out.stage.is_data_source and damage.kind == "other":
        yield from files_of_owner(project, damage)
    else:
        if damage.kind == "other":
            yield f"{damage.place}: moved to {aside(project, out.fs_path)}"
        if project.cached(out):
            project.repo.checkout([damage.place], force=True)
            yield f"{damage.place}: checked out"


def from_git(project: Project, damage: Damage) -> Iterator[str]:
    """A result that is git's, if git has the one of dvc.lock."""
    if damage.kind == "other":
        yield f"{damage.place}: moved to {aside(project, damage.out.fs_path)}"
    content = git.run(Path.cwd(), "show", f"HEAD:./{Path(damage.place).as_posix()}", code=None)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() == damage.out.hash_info.value:
        with files.atomic_write(Path(damage.place)) as draft:
            draft.write_bytes(content)
        yield f"{damage.place}: is git's again"


def files_of_owner(project: Project, damage: Damage) -> Iterator[str]:
    """Photos that have other bytes than those that DVC took in: only these, and only where the right ones are there."""
    expected = project.expected(damage.out) or {}
    for path in damage.files:
        if project.good(expected.get(path, "")):
            place = Path(damage.place) / path
            yield f"{place}: moved to {aside(project, str(place))}"
            project.repo.checkout([str(place)], force=True)
            yield f"{place}: checked out"


def aside(project: Project, path: str) -> str:
    """Move what is damaged away, into a folder of its own; return where it is."""
    top = Path(str(project.repo.tmp_dir)) / "broken"
    top.mkdir(parents=True, exist_ok=True)
    target = Path(tempfile.mkdtemp(dir=top, prefix="")) / Path(path).name
    shutil.move(path, target)
    return os.path.relpath(target)
