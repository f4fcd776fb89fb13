"""Photos and results in a local folder, or in any place that fsspec reads and writes."""

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
from smallset.pipeline import files, install
from smallset.pipeline.errors import SmallsetError

READERS = 16  # files that are read at once from a remote place
PREFETCHED = 64  # copies that wait for their turn, at most
WAITS = (1.0, 5.0, 25.0)  # s before each new attempt after a failure
DRAFT = ".part."

# Protocols of object stores: an upload appears completely or not at all, and creating a folder would create a bucket.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "oss", "memory"}

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Location:
    """A folder in a file system; `name` is what the user wrote."""

    system: fsspec.AbstractFileSystem
    folder: str
    name: str

    @property
    def is_local(self) -> bool:
        """Whether Python can open its files by path."""
        return isinstance(self.system, fsspec.get_filesystem_class("file"))

    @property
    def is_object_store(self) -> bool:
        """Whether it has objects and no folders."""
        protocol = self.system.protocol
        return not OBJECT_STORES.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    def path(self, file: str) -> str:
        """The path of a file in the folder."""
        return f"{self.folder}/{file}"

    @contextmanager
    def readable_errors(self) -> Iterator[None]:
        """Turn the errors of any file system into one SmallsetError."""
        try:
            yield
        except SmallsetError:
            raise
        except Exception as error:  # noqa: BLE001 - each file system has its own errors
            raise SmallsetError(
                f"{self.name}: {describe(error)}. Check the name, the access rights and the network. The same command "
                f"continues from here."
            ) from None

    def read(self, file: str) -> bytes | None:
        """The bytes of a file; None when it does not exist."""
        with self.readable_errors():
            try:
                return bytes(retry(self.system.cat_file, self.path(file)))
            except FileNotFoundError:
                return None

    def write(self, file: str, content: bytes) -> None:
        """Write a file, which appears completely or not at all."""
        with self.readable_errors():
            if self.is_object_store:
                retry(self.system.pipe_file, self.path(file), content)
                return
            draft = self.path(f"{DRAFT}{uuid.uuid4().hex}.{file}")  # another worker may write the same file
            self.system.makedirs(self.folder, exist_ok=True)
            retry(self.system.pipe_file, draft, content)
            self.system.mv(draft, self.path(file))

    def list_names(self) -> list[str]:
        """The names of the files in the folder."""
        with self.readable_errors():
            self.system.invalidate_cache()
            try:
                return [path.rpartition("/")[2] for path in self.system.ls(self.folder, detail=False)]
            except FileNotFoundError:
                return []

    def grants_access(self) -> bool:
        """Whether the store still answers: it can say that a file does not exist."""
        try:
            self.system.info(self.path(f"{DRAFT}nothing"))
        except FileNotFoundError:
            return True
        except Exception:  # noqa: BLE001
            return False
        return True

    def remove_drafts(self) -> None:
        """Remove what an interrupted run left."""
        for name in self.list_names():
            if name.startswith(DRAFT):
                self.system.rm_file(self.path(name))


@dataclass
class PhotoList:
    """The sorted photos of a location.

    Attributes:
        location: Where they are.
        files: Paths relative to the location.
        errors: Why some cannot be read, by the path that would be decoded.
        notes: Sentences about other files.
        sizes: Bytes of each file, -1 when unknown.
        failure: The problem that ended reading, for which no single photo is responsible.
    """

    location: Location
    files: list[str]
    errors: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    failure: str = ""

    def digest(self) -> str:
        """sha256 of the names and sizes."""
        digest = hashlib.sha256()
        for file, size in zip(self.files, self.sizes, strict=True):
            digest.update(f"{size} {file}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def fetch(self, wanted: Iterable[str], folder: Path) -> Iterator[str]:
        """Yield a local path for each file; remote files are copied to `folder` in advance.

        A file that is gone or forbidden gets an error; any other problem ends the paths and is in `failure`.
        """
        if self.location.is_local:
            yield from (self.location.path(file) for file in wanted)
            return
        with ThreadPoolExecutor(READERS) as pool:
            copies = ((file, folder / f"{number}{Path(file).suffix}") for number, file in enumerate(wanted))
            jobs = ((copy, pool.submit(self._copy, file, copy)) for file, copy in copies)
            waiting = deque(islice(jobs, PREFETCHED))
            try:
                while waiting:
                    copy, job = waiting.popleft()
                    self.failure = job.result()
                    if self.failure:
                        return
                    yield str(copy)
                    waiting.extend(islice(jobs, 1))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _copy(self, file: str, copy: Path) -> str:
        """Copy a file; return a problem that concerns all files, while a problem of this file becomes its error."""
        try:
            copy.write_bytes(retry(self.location.system.cat_file, self.location.path(file)))
        except (FileNotFoundError, PermissionError) as error:
            if isinstance(error, PermissionError) and not self.location.grants_access():  # expired credentials
                return f"{file}: {describe(error)}"
            self.errors[str(copy)] = f"cannot be read: {error.strerror or error}"
        except Exception as error:  # noqa: BLE001 - each file system has its own errors
            return f"{file}: {describe(error)}"
        return ""


def describe(error: Exception) -> str:
    """An error in one line, with its type, without which some say nothing."""
    message = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{type(error).__name__}: {' '.join(message.split())}".rstrip(": .")


def retry(call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """Call a function again after each of WAITS; missing and forbidden files are not tried again."""
    for wait in WAITS:
        try:
            return call(*args, **kwargs)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception:  # noqa: BLE001 - each file system has its own errors
            time.sleep(wait)
    return call(*args, **kwargs)


def open_location(name: str) -> Location:
    """A local path or an fsspec URL; SmallsetError when the package for its protocol is missing."""
    options = {"max_concurrency": 1} if name.startswith(("s3://", "s3a://")) else {}  # else it requests each size first
    try:
        system, folder = fsspec.url_to_fs(name, **options)
    except (ImportError, ValueError) as error:
        fix = f"Run: {install.pip_command('s3')}" if options else "Install the package that this message names."
        raise SmallsetError(f"{name}: {error}. {fix}") from None
    return Location(system, str(folder).rstrip("/"), name)


def find_photos(location: Location) -> PhotoList:
    """Find the photos below a location: by content in a local folder, by name elsewhere."""
    photos = _find_local(location) if location.is_local else _find_remote(location)
    if not photos.files:
        raise SmallsetError(f"{location.name}: expected photos, found none. Name a folder that contains some.")
    return photos


def _find_local(location: Location) -> PhotoList:
    result = scan.scan(Path(location.folder))
    paths = result.all_photos()
    sizes = array("q", (-1 if path in result.unreadable else os.stat(location.path(path)).st_size for path in paths))  # noqa: PTH116
    errors = {location.path(path): reason for path, reason in result.unreadable.items()}
    return PhotoList(location, paths, errors, scan.describe_others(result.others), sizes)


def _find_remote(location: Location) -> PhotoList:
    with location.readable_errors():
        details = location.system.find(location.folder, detail=True)
    location.system.invalidate_cache()  # it would keep the whole listing
    below = (path.removeprefix(f"{location.folder}/") for path in details if path.startswith(f"{location.folder}/"))
    names = sorted(
        file for file in below if formats.NAMED.search(file) and not any(map(scan.is_hidden, file.split("/")))
    )
    sizes = [details[location.path(file)].get("size") for file in names]
    return PhotoList(location, names, sizes=array("q", (-1 if size is None else int(size) for size in sizes)))


def write_tables(tables: dict[str, str], location: Location) -> None:
    """Write texts as files of a location, in place of those that are there."""
    for name, content in tables.items():
        if location.is_local:
            files.write_text(Path(location.folder) / name, content)
        else:
            location.write(name, content.encode())
