"""The photos below a folder, and a reason for every other file: how all of smallset looks for photos."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from natsort import natsorted

from smallset.images import formats
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import visible

# What systems and photo managers put beside photos: thumbnails, waste, notes. Never looked into.
LEFT = {
    *("__MACOSX", "Icon\r", "Thumbs.db", "ehthumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information"),
    *("lost+found", "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@__thumb", "Picasa.ini"),
    *("ZbThumbnail.info", "Network Trash Folder", "Temporary Items"),
}
LEAVINGS = "hidden, or left by the system or a photo manager"
NOTHING = "a link to nothing"
OUTSIDE = "a link that leads out of the folder: put a copy in its place"
ROUND = "a link to a folder that it lies in"
# An object of DVC's cache, to which DVC's own links lead where its cache.type is symlink.
CACHED = re.compile(r"[/\\]files[/\\]md5[/\\][0-9a-f]{2}[/\\][0-9a-f]{30}$")
NAMES, REASONS = 3, 8  # in a sentence that counts files


@dataclass
class Walk:
    """What was found below `folder`, each file by its path from there, with / between."""

    folder: Path
    photos: list[str] = field(default_factory=list)  # their first bytes say so; whether they decode shows later
    broken: dict[str, str] = field(default_factory=dict)  # what may have been photos, and why it is not read
    others: dict[str, str] = field(default_factory=dict)  # what is no photo, and what it is
    bare: list[str] = field(default_factory=list)  # folders without any photo, the topmost

    def said(self) -> list[str]:
        """What is left out, in sentences: none if nothing is."""
        return [*not_read(self.broken), *not_counted(self.others)]

    def below(self, top: str) -> "Walk":
        """What was found in the folder `top` of this one, which ends with a / or is empty."""
        photos = [path[len(top) :] for path in self.photos if path.startswith(top)]
        broken, others = (
            {path[len(top) :]: reasons[path] for path in reasons if path.startswith(top)}
            for reasons in (self.broken, self.others)
        )
        return Walk(self.folder / top, photos, broken, others)

    def none(self) -> SmallsetError:
        """The error for a folder without a photo."""
        seen = "".join(f" {line}" for line in self.said())
        return SmallsetError(f"{self.folder}: expected photos, found none.{seen} Name a folder that has some.")


def walk(folder: Path) -> Walk:
    """Look at every file below a folder; the photos are in an order that is the same everywhere.

    Links are followed while they stay below the folder: what they lead to outside would be copied into caches, and
    pushed from there. What is hidden is left out, and nothing but regular files is opened. SmallsetError for a folder
    that cannot be read itself.
    """
    found, top = Walk(folder), Path(os.path.realpath(folder))
    open_folders: list[tuple[str, tuple[str, ...]]] = [
        ("", (str(top),))
    ]  # each with where it really is, last, and the folders around it
    while open_folders:
        inside, above = open_folders.pop()
        try:
            with os.scandir(above[-1]) as entries:
                looked = [_look(found, top, inside, above, entry) for entry in entries]
        except OSError as error:
            if not inside:
                raise SmallsetError(f"{folder}: cannot be read: {reason(error)}.") from None
            found.broken[inside] = f"cannot be read: {reason(error)}"
            continue
        open_folders += [inner for inner in looked if inner]
    found.photos = ordered(found.photos)
    found.bare = _without(found.bare, found.photos)
    return found


def _look(
    found: Walk, top: Path, inside: str, above: tuple[str, ...], entry: os.DirEntry[str]
) -> tuple[str, tuple[str, ...]] | None:
    """Note what an entry of the folder `inside` is; return a folder that is to be looked into."""
    path, real = f"{inside}/{entry.name}".lstrip("/"), entry.path
    if hidden(entry.name):
        found.others[path] = LEAVINGS
        return None
    if entry.is_symlink():
        real = os.path.realpath(real)
        if problem := _problem(top, real, above):
            found.broken[path] = problem
            return None
    if os.path.isdir(real):  # noqa: PTH112 - many, and each a system call
        found.bare.append(path)
        return path, (*above, real)
    _sort(found, path, real)
    return None


def _problem(top: Path, real: str, above: tuple[str, ...]) -> str:
    """Why a link to `real` is not followed; "" where it is."""
    if not os.path.exists(real):  # noqa: PTH110
        return NOTHING
    if not Path(real).is_relative_to(top) and not CACHED.search(real):
        return OUTSIDE
    return ROUND if real in above else ""


def _sort(found: Walk, path: str, real: str) -> None:
    """Note a file as a photo, as one that is broken, or as something else."""
    try:
        start = formats.head(real)
    except OSError as error:
        found.broken[path] = f"cannot be read: {reason(error)}"
        return
    if formats.RAW.search(path):
        found.others[path] = formats.NO_RAW
    elif formats.of(start):
        found.photos.append(path)
    elif formats.NAMED.search(path):
        found.broken[path] = formats.no_photo(start)
    else:
        found.others[path] = f"of type {Path(path).suffix.lower()}" if Path(path).suffix else "without a type"


def _without(folders: Sequence[str], paths: Sequence[str]) -> list[str]:
    """The folders that none of the paths is in, but those below another."""
    around = {parent for path in paths for parent in parents(path)}
    bare = set(folders) - around
    return sorted(folder for folder in bare if not bare & set(parents(folder)))


def parents(path: str) -> list[str]:
    """The folders a and a/b of a/b/c."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def ordered(paths: Sequence[str]) -> list[str]:
    """Folder by folder in numeric order; what is one number, 1 and 01, and two spellings of one letter, by bytes."""
    return natsorted(sorted(paths, key=os.fsencode), key=lambda path: tuple(path.split("/")))


def hidden(name: str) -> bool:
    """True for what a file manager does not show."""
    return name.startswith(".") or name in LEFT


def not_read(broken: Mapping[str, str]) -> list[str]:
    """A sentence about what may have been photos, if there is any."""
    return [f"Not read: {counted(broken)}."] if broken else []


def not_counted(others: Mapping[str, str]) -> list[str]:
    """A sentence about what is no photo, if there is any."""
    return [f"Not counted: {counted(others)}."] if others else []


def counted(reasons: Mapping[str, str]) -> str:
    """How many paths have each reason, the most frequent first, with the first paths: 2 of type .xmp (a.xmp, b.xmp)."""
    by_reason: dict[str, list[str]] = {}
    for path in ordered([*reasons]):
        by_reason.setdefault(reasons[path], []).append(path)
    order = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    parts = [f"{len(paths)} {why} ({some(paths)})" for why, paths in order[:REASONS]]
    rest = sum(len(paths) for _, paths in order[REASONS:])
    return "; ".join([*parts, *[f"{rest} for other reasons"] * (rest > 0)])


def some(words: Sequence[str], most: int = NAMES) -> str:
    """The first words, and how many more there are, as text that prints."""
    more = [f"and {len(words) - most} more"] if len(words) > most else []
    return ", ".join([*map(visible, words[:most]), *more])


def reason(error: OSError) -> str:
    """An error of the system in its own words, without the path, which is named anyway."""
    return error.strerror or str(error)
