"""Find the photos below a folder, and say for every other file what it is."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from natsort import natsorted

from smallset.images import formats
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import visible

# What systems and photo managers put beside photos: thumbnails, deleted files, notes. Never searched.
SYSTEM_FILES = {
    *("__MACOSX", "Icon\r", "Thumbs.db", "ehthumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information"),
    *("lost+found", "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@__thumb", "Picasa.ini"),
    *("ZbThumbnail.info", "Network Trash Folder", "Temporary Items"),
}
HIDDEN = "hidden, or made by the system or a photo manager"
BROKEN_LINK = "a link to a file that does not exist"
OUTSIDE = "a link to a file outside of the folder: replace it by a copy"
CIRCULAR = "a link to a folder that contains it"
# An object in DVC's cache, to which DVC itself links when its cache.type is symlink.
DVC_OBJECT = re.compile(r"[/\\]files[/\\]md5[/\\][0-9a-f]{2}[/\\][0-9a-f]{30}$")
EXAMPLES, REASONS = 3, 8  # in a sentence that counts files


@dataclass
class Scan:
    """The files below `folder`; each path is relative to it, with / as separator.

    Attributes:
        photos: Files that start like a photo, in natural order. Whether they decode is not known yet.
        unreadable: Files that should be photos -> why they cannot be read.
        others: All other files -> what they are.
        empty: The topmost folders without a photo.
    """

    folder: Path
    photos: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)

    def all_photos(self) -> list[str]:
        """The photos and the unreadable files, in natural order."""
        return natural_order([*self.photos, *self.unreadable])

    def describe(self) -> list[str]:
        """Sentences about the files that are left out; empty if there are none."""
        return [*describe_unreadable(self.unreadable), *describe_others(self.others)]


def scan(folder: Path) -> Scan:
    """Search a folder recursively; SmallsetError when it cannot be read.

    Links are followed only inside the folder, because DVC would copy and push the files outside of it. Hidden files
    are skipped, and only regular files are opened.
    """
    result = Scan(folder)
    try:
        _add_folder(result, "", (os.path.realpath(folder),))
    except OSError as error:
        raise SmallsetError(f"{folder}: cannot be read: {os_reason(error)}.") from None
    result.photos = natural_order(result.photos)
    empty = {*result.empty} - {parent for path in result.photos for parent in parents(path)}
    result.empty = sorted(path for path in empty if not empty & {*parents(path)})
    return result


def _add_folder(result: Scan, folder: str, above: tuple[str, ...]) -> None:
    """Add what is in a folder; `above` are the real paths of the folders that contain it, and last its own."""
    with os.scandir(above[-1]) as content:
        entries = sorted(content, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{folder}/{entry.name}".lstrip("/")
        real = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
        try:
            if is_hidden(entry.name):
                result.others[path] = HIDDEN
            elif entry.is_symlink() and (problem := _check_link(real, above)):
                result.unreadable[path] = problem
            elif os.path.isdir(real):  # noqa: PTH112 - faster than pathlib for many files
                result.empty.append(path)
                _add_folder(result, path, (*above, real))
            else:
                _add_file(result, path, formats.head(real))
        except OSError as error:
            result.unreadable[path] = f"cannot be read: {os_reason(error)}"


def _check_link(real: str, above: tuple[str, ...]) -> str:
    """Why a link to `real` is not followed; "" when it is."""
    if not os.path.exists(real):  # noqa: PTH110
        return BROKEN_LINK
    if not Path(real).is_relative_to(above[0]) and not DVC_OBJECT.search(real):
        return OUTSIDE
    return CIRCULAR if real in above else ""


def _add_file(result: Scan, path: str, head: bytes) -> None:
    if formats.identify(head) and not formats.RAW.search(path):
        result.photos.append(path)
    elif formats.NAMED.search(path):
        result.unreadable[path] = formats.explain(head)
    else:
        result.others[path] = describe_name(path)


def describe_name(path: str) -> str:
    """What a file is that is not called like a photo."""
    if any(map(is_hidden, path.split("/"))):
        return HIDDEN
    if formats.RAW.search(path):
        return formats.NO_RAW
    suffix = Path(path).suffix.lower()
    return f"of type {suffix}" if suffix else "without a type"


def parents(path: str) -> list[str]:
    """The folders a and a/b of a/b/c."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def natural_order(paths: Sequence[str]) -> list[str]:
    """Sort folder by folder in numeric order, cat.2.jpg before cat.10.jpg; equal keys, as 1 and 01, by their bytes."""
    return natsorted(sorted(paths, key=os.fsencode), key=lambda path: tuple(path.split("/")))


def is_hidden(name: str) -> bool:
    """Whether a file manager hides a file or a folder of this name."""
    return name.startswith(".") or name in SYSTEM_FILES


def describe_unreadable(reasons: Mapping[str, str]) -> list[str]:
    """A sentence about files that should be photos; no sentence if there are none."""
    return [f"Unreadable: {count_reasons(reasons)}."] if reasons else []


def describe_others(reasons: Mapping[str, str]) -> list[str]:
    """A sentence about files that are not photos; no sentence if there are none."""
    return [f"Other files: {count_reasons(reasons)}."] if reasons else []


def count_reasons(reasons: Mapping[str, str]) -> str:
    """The number of paths for each reason, the most frequent first, as "2 of type .xmp (a.xmp, b.xmp)"."""
    paths = natural_order([*reasons])
    counts = Counter(reasons[path] for path in paths).most_common()
    examples = {reason: some([path for path in paths if reasons[path] == reason]) for reason, _ in counts[:REASONS]}
    parts = [f"{count:,} {reason} ({examples[reason]})" for reason, count in counts[:REASONS]]
    rest = sum(count for _, count in counts[REASONS:])
    return "; ".join([*parts, *[f"{rest:,} for other reasons"] * (rest > 0)])


def some(words: Sequence[str], most: int = EXAMPLES) -> str:
    """The first words, printable, and how many more there are."""
    more = [f"and {len(words) - most:,} more"] if len(words) > most else []
    return ", ".join([*map(visible, words[:most]), *more])


def os_reason(error: OSError) -> str:
    """The system's own words without the path."""
    return error.strerror or str(error)
