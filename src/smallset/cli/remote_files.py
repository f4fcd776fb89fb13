"""Where photos lie and labels go: a local folder, or any place that fsspec reads and writes."""

import hashlib
import os
import time
import uuid
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

import fsspec

from smallset.datasets import scan
from smallset.images import formats
from smallset.pipeline.errors import SmallsetError

READERS = 16  # files that are read at once from a place that is not local
AHEAD = 64  # copies of them that wait for their turn, at most
WAITS = (1.0, 5.0, 25.0)  # s, after which a place that failed is tried again
PART = ".part."  # begins the name of a draft

# fsspec's protocols of stores without folders: a put is whole or not at all, and mkdir would make a bucket.
OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "oss", "memory"}

Given = ParamSpec("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """A folder, and the file system that it is on."""

    system: fsspec.AbstractFileSystem
    folder: str
    name: str  # as the user wrote it

    @property
    def local(self) -> bool:
        """Whether its files have paths that Python opens."""
        return isinstance(self.system, fsspec.get_filesystem_class("file"))

    def at(self, file: str) -> str:
        """The path of a file in it."""
        return f"{self.folder}/{file}"

    @property
    def objects(self) -> bool:
        """Whether it is in a store of objects, which knows no folders."""
        protocol = self.system.protocol
        return bool({protocol} & OBJECTS if isinstance(protocol, str) else {*protocol} & OBJECTS)

    @contextmanager
    def reached(self) -> Iterator[None]:
        """One error for all that keeps from a place: every file system has errors of its own."""
        try:
            yield
        except SmallsetError:
            raise
        except Exception as error:  # noqa: BLE001
            raise SmallsetError(
                f"{self.name}: {words(error)}. Check the name, the rights and the network. The same command goes on "
                f"from here."
            ) from None

    def read(self, file: str) -> bytes | None:
        """A file's bytes; None where there is no such file."""
        with self.reached():
            try:
                return bytes(patiently(self.system.cat_file, self.at(file)))
            except FileNotFoundError:
                return None

    def write(self, file: str, content: bytes) -> None:
        """Make a file that is whole from the first moment that it has its name."""
        with self.reached():
            if self.objects:
                patiently(self.system.pipe_file, self.at(file), content)
                return
            draft = self.at(f"{PART}{uuid.uuid4().hex}.{file}")  # another worker may be at the same file
            self.system.makedirs(self.folder, exist_ok=True)
            patiently(self.system.pipe_file, draft, content)
            self.system.mv(draft, self.at(file))

    def names(self) -> list[str]:
        """Those of the files in it, as they are now."""
        with self.reached():
            self.system.invalidate_cache()
            try:
                found = self.system.ls(self.folder, detail=False)
            except FileNotFoundError:
                return []
            return [path.rpartition("/")[2] for path in found]

    def answers(self) -> bool:
        """Whether it lets us in: it says of a file that is not there that it is not there."""
        try:
            self.system.info(self.at(f"{PART}nothing"))
        except FileNotFoundError:
            return True
        except Exception:  # noqa: BLE001
            return False
        return True

    def tidy(self) -> None:
        """Remove the drafts that a killed run left."""
        for name in self.names():
            if name.startswith(PART):
                self.system.rm_file(self.at(name))


@dataclass
class Photos:
    """The photos of a place in their order, and those that are not to be read, with their reasons."""

    place: Place
    files: list[str]  # relative to the place
    reasons: dict[str, str] = field(default_factory=dict)  # by the path that is decoded
    said: list[str] = field(default_factory=list)
    sizes: "array[int]" = field(default_factory=lambda: array("q"))  # bytes; -1 where they are not known
    failed: str = ""  # what ended the reading, which no single photo is to blame for

    def digest(self) -> str:
        """sha256 of the list: names, and sizes where there is a file."""
        digest = hashlib.sha256()
        for file, size in zip(self.files, self.sizes, strict=True):
            digest.update(f"{size} {file}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def fetched(self, wanted: Iterable[str], folder: Path) -> Iterator[str]:
        """A local path for each file: its own, or that of a copy in `folder`, of which AHEAD are made in advance.

        A file that is gone or forbidden has that as its reason; any other trouble ends the paths, and is in `failed`.
        """
        if self.place.local:
            yield from (self.place.at(file) for file in wanted)
            return
        with ThreadPoolExecutor(READERS) as pool:
            copies = ((file, folder / f"{number}{Path(file).suffix}") for number, file in enumerate(wanted))
            begun = ((copy, pool.submit(self.fetch, file, copy)) for file, copy in copies)
            waiting = deque(islice(begun, AHEAD))
            try:
                while waiting:
                    copy, done = waiting.popleft()
                    self.failed = done.result()
                    if self.failed:
                        return
                    yield str(copy)
                    waiting.extend(islice(begun, 1))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def fetch(self, file: str, copy: Path) -> str:
        """Copy a file; return what went wrong, unless it is the file's own fault and so its reason."""
        try:
            copy.write_bytes(patiently(self.place.system.cat_file, self.place.at(file)))
        except (FileNotFoundError, PermissionError) as error:
            # A forbidden file is one matter, rights that have run out are the matter of all that follow.
            if isinstance(error, PermissionError) and not self.place.answers():
                return f"{file}: {words(error)}"
            self.reasons[str(copy)] = f"cannot be read: {scan.reason(error)}"
        except Exception as error:  # noqa: BLE001 - each file system has its own
            return f"{file}: {words(error)}"
        return ""


def words(error: Exception) -> str:
    """An error on one line, with its kind, without which some say nothing."""
    told = scan.reason(error) if isinstance(error, OSError) else str(error)
    return f"{type(error).__name__}: {' '.join(told.split())}".rstrip(": .")


def patiently(call: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    """What the call gives, tried again after each of WAITS; what is gone or forbidden stays so, and is not."""
    for wait in WAITS:
        try:
            return call(*given, **named)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception:  # noqa: BLE001 - each file system has its own
            time.sleep(wait)
    return call(*given, **named)


def place(name: str) -> Place:
    """A local path or a URL of fsspec's; SmallsetError where the package that speaks its protocol is missing."""
    options = {"max_concurrency": 1} if name.startswith(("s3://", "s3a://")) else {}  # else it asks for each size first
    try:
        system, folder = fsspec.url_to_fs(name, **options)
    except (ImportError, ValueError) as error:
        raise SmallsetError(f"{name}: {error}. Install the package that fsspec names for it.") from None
    return Place(system, str(folder).rstrip("/"), name)


def find(source: Place) -> Photos:
    """The photos below a place. A local folder is looked through as ever; elsewhere the names tell what is a photo."""
    photos = walked(source) if source.local else listed(source)
    if not photos.files:
        raise SmallsetError(f"{source.name}: expected photos, found none. Name a folder that has some.")
    return photos


def walked(source: Place) -> Photos:
    """Those of a local folder."""
    found = scan.walk(Path(source.folder))
    below = scan.ordered([*found.photos, *found.broken]) if found.broken else found.photos
    sizes = array("q", (-1 if path in found.broken else os.stat(source.at(path)).st_size for path in below))  # noqa: PTH116 - many
    reasons = {source.at(path): reason for path, reason in found.broken.items()}
    return Photos(source, below, reasons, scan.not_counted(found.others), sizes)


def listed(source: Place) -> Photos:
    """Those of any other place, by their names."""
    with source.reached():
        found = source.system.find(source.folder, detail=True)
    source.system.invalidate_cache()  # it keeps all that it has listed
    whole = (path.removeprefix(f"{source.folder}/") for path in found if path.startswith(f"{source.folder}/"))
    files = sorted(file for file in whole if formats.NAMED.search(file) and not any(map(scan.hidden, file.split("/"))))
    sizes = array("q", (-1 if (size := found[source.at(file)].get("size")) is None else int(size) for file in files))
    return Photos(source, files, sizes=sizes)
