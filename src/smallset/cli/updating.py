"""`smallset update`: the code of this smallset in a project that an older one has made; its user's changes stay."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from smallset.cli import bringing, initialising
from smallset.datasets import corrections
from smallset.pipeline import files, git
from smallset.pipeline.errors import SmallsetError

CONFLICT = "your change and smallset's meet: edit the lines between <<<<<<< and >>>>>>>"


def update(folder: Path) -> str:
    """Bring what has changed; return what was done, and what is left to the user.

    A file that the user has not touched becomes the new one. In one that they have, both changes are merged; where they
    meet, marks are left. Nothing is committed.
    """
    old = bringing.read_record(folder)
    new = bringing.code(old.chapter)
    check_committed(folder, [*old.digests, bringing.PARAMS])
    notes = [note for path in sorted({*old.digests, *new}) for note in bring(folder, path, old, new.get(path))]
    notes += update_params(folder / bringing.PARAMS, old.chapter)
    if not (folder / corrections.FILE).exists():
        corrections.write(folder / corrections.FILE, {})
        notes.append(f"{corrections.FILE}: is new, for what smallset review decides")
    now = bringing.record(new, old.chapter)
    bringing.write_record(folder, now)
    done = f"{folder}: smallset {old.version} to {now.version}" if now != old else f"{folder}: up to date"
    return "\n".join([done, *notes, *(["See git diff, then: dvc repro"] if now != old else [])])


def check_committed(folder: Path, paths: list[str]) -> None:
    """SmallsetError for changes that git could not give back."""
    changed = git.run(folder, "status", "--porcelain", "--", *paths).decode(errors="replace")
    if changed:
        raise SmallsetError(f"{folder}: expected all code to be committed; not so are\n{changed}Commit, then update.")


def bring(folder: Path, path: str, old: bringing.Record, new: bytes | None) -> Iterator[str]:
    """Give one file of the project its new content, None for none; yield what the user should know."""
    place = folder / path
    own = place.read_bytes() if place.is_file() else None
    if own == new:
        return
    touched = own is not None and bringing.digest(own) != old.digests.get(path)
    if not touched and new is None:
        files.remove(place)
    elif not touched:
        bringing.write(folder, {path: new or b""})
    elif new is None:
        yield f"{path}: smallset has it no longer; yours stays"
    elif old.digests.get(path) != bringing.digest(new):
        yield from merge(folder, path, old, new)


def merge(folder: Path, path: str, old: bringing.Record, new: bytes) -> Iterator[str]:
    """Merge smallset's change of a file, from what was brought to `new`, into the user's."""
    brought = git.run(folder, "log", "-1", "--format=%H", "--", bringing.RECORD).decode().strip()
    base = git.run(folder, "show", f"{brought}:./{path}", code=None)
    if bringing.digest(base) != old.digests.get(path):
        yield f"{path}: smallset's has changed, and so has yours, which stays; the new one is {path}.new"
        bringing.write(folder, {f"{path}.new": new})
        return
    with tempfile.TemporaryDirectory() as drafts:
        names = [Path(drafts) / name for name in ("yours", "brought", "smallset")]
        for name, content in zip(names, ((folder / path).read_bytes(), base, new), strict=True):
            name.write_bytes(content)
        merged = git.run(folder, "merge-file", "--stdout", *map(str, names), code=None)
    bringing.write(folder, {path: merged})
    if b"<<<<<<<" in merged:
        yield f"{path}: {CONFLICT}"


def update_params(path: Path, chapter: bool) -> Iterator[str]:
    """Add the keys that are new, with their comments, and take away those that are gone; all other lines stay."""
    own, new = (initialising.yaml().load(text) for text in (path.read_text("utf-8"), bringing.params(chapter)))
    notes = [*reconcile(own, new, "")]
    if notes:
        files.write_text(path, initialising.dumped(own))
    yield from (f"params.yaml: {note}" for note in notes)


def reconcile(own: CommentedMap, new: CommentedMap, parents: str) -> Iterator[str]:
    """Give a mapping the keys of another, wherever they are missing, and take away what that one has not."""
    for key in [key for key in own if key not in new]:
        yield f"{parents}{key}: is gone (it was {own[key]!r})"
        del own[key]
    for place, (key, value) in enumerate(new.items()):
        if key not in own:
            yield f"{parents}{key}: is new ({value!r})"
            own.insert(place, key, value)
            if key in new.ca.items:
                own.ca.items[key] = new.ca.items[key]
        elif isinstance(value, CommentedMap) and isinstance(own[key], CommentedMap):
            yield from reconcile(own[key], value, f"{parents}{key}: ")
