"""Photos and results in a local folder, or in any place that fsspec reads and writes."""

import functools
import hashlib
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from smallset.cli import console
from smallset.datasets import scan
from smallset.images import formats
from smallset.pipeline import install
from smallset.pipeline.errors import SmallsetError

READERS = 16  # files that are read at once from a remote place
PREFETCHED = 64  # copies that wait for their turn, at most
WAITS = (1.0, 5.0, 25.0)  # s before each new attempt after a failure
PATIENCE = 60.0  # s from the first attempt to the end of the last wait; a store that never answers takes 15 s each time
DRAFT = ".part."

# Protocols of object stores: an upload appears completely or not at all, and creating a folder would create a bucket.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "oss", "memory"}
# What stores say about the bytes of a file, the best first: a digest, a version or a date.
VERSIONS = (
    *("ETag", "etag", "md5Hash", "blob_id", "generation"),
    *("LastModified", "last_modified", "updated", "mtime", "created"),
)
VERSION_ID = "?versionId="  # s3fs would read another object


class Location(NamedTuple):
    """A folder in a file system; `name` is what the user wrote."""

    system: fsspec.AbstractFileSystem
    folder: str
    name: str

    @property
    def is_local(self) -> bool:
        """Whether Python can open its files by path."""
        return isinstance(self.system, fsspec.get_filesystem_class("file"))

    def path(self, file: str) -> str:
        """The path of a file in the folder."""
        return f"{self.folder}/{file}"

    @contextmanager
    def readable_errors(self, file: str = "") -> Iterator[None]:
        """Turn the errors of any file system into one SmallsetError, with their type: some say nothing without it."""
        try:
            yield
        except SmallsetError:
            raise
        except Exception as error:  # noqa: BLE001 - each file system has its own errors
            message = (error.strerror if isinstance(error, OSError) else None) or str(error)
            problem = f"{type(error).__name__}: {' '.join(message.split())}".rstrip(": .")
            raise SmallsetError(
                f"{f'{self.name}/{file}' if file else self.name}: {problem}. Check the name, the access rights and the "
                f"network. The same command continues from here."
            ) from None

    def read(self, file: str) -> bytes | None:
        """The bytes of a file; None when it does not exist."""
        with self.readable_errors(), suppress(FileNotFoundError):
            return bytes(retry(self.system.cat_file, self.path(file)))
        return None

    def write(self, file: str, content: bytes) -> None:
        """Write a file, which appears completely or not at all."""
        with self.readable_errors():
            if self.name.partition("://")[0] in OBJECT_STORES:
                retry(self.system.pipe_file, self.path(file), content)
                return
            draft = self.path(f"{DRAFT}{uuid.uuid4().hex}.{file}")  # another worker may write the same file
            self.system.makedirs(self.folder, exist_ok=True)
            retry(self.system.pipe_file, draft, content)
            self.system.mv(draft, self.path(file))

    def list_names(self) -> list[str]:
        """The names of the files in the folder."""
        with self.readable_errors(), suppress(FileNotFoundError):
            self.system.invalidate_cache()
            return [path.rpartition("/")[2] for path in retry(self.system.ls, self.folder, detail=False)]
        return []

    def fetch(self, wanted: Iterable[str], errors: dict[str, str], folder: Path) -> Iterator[str]:
        """Yield a local path for each file; remote files are copied to `folder` in advance.

        A file that is gone or forbidden gets an entry in `errors`; any other problem is a SmallsetError.
        """
        if self.is_local:
            yield from map(self.path, wanted)
            return
        with ThreadPoolExecutor(READERS) as pool:
            copies = ((file, folder / f"{number}{Path(file).suffix}") for number, file in enumerate(wanted))
            jobs = (pool.submit(self._copy, file, copy, errors) for file, copy in copies)
            waiting = deque(islice(jobs, PREFETCHED))
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(islice(jobs, 1))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _copy(self, file: str, copy: Path, errors: dict[str, str]) -> str:
        if VERSION_ID in file:
            errors[str(copy)] = f"cannot be read: its name contains {VERSION_ID}, which selects a version in S3"
            return str(copy)
        with self.readable_errors(file):
            try:
                copy.write_bytes(retry(self.system.cat_file, self.path(file)))
            except (FileNotFoundError, PermissionError) as error:
                if isinstance(error, PermissionError):  # a store that says what does not exist still gives access
                    self.read(f"{DRAFT}nothing")
                errors[str(copy)] = f"cannot be read: {error.strerror or error}"
        return str(copy)


class PhotoList(NamedTuple):
    """The sorted photos of a location."""

    location: Location
    files: list[str]  # paths relative to the location
    errors: dict[str, str]  # why some cannot be read
    notes: list[str]  # sentences about other files
    digest: str  # sha256 of the names, the sizes, and the dates or what else tells of new bytes


def retry(call: Callable[..., Any], *arguments: object, **options: object) -> Any:  # noqa: ANN401 - what it returns
    """Call a function again after each of WAITS; missing and forbidden files are not tried again."""
    started = time.monotonic()
    for wait in WAITS:
        try:
            return call(*arguments, **options)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:
            if time.monotonic() - started + wait > PATIENCE:
                raise
            words = f"The storage does not answer ({type(error).__name__}). New attempt in {wait:g} s."
            _announce(words, int(time.monotonic()) // 60)
            time.sleep(wait)
    return call(*arguments, **options)


@functools.lru_cache  # once a minute, and not for each of the READERS
def _announce(message: str, _minute: int) -> None:
    console.print_notes([message])


def open_location(name: str) -> Location:
    """A local path or an fsspec URL; SmallsetError when the package for its protocol is missing."""
    options: dict[str, Any] = {}
    if name.startswith(("s3://", "s3a://")):  # botocore's and s3fs's own retries would multiply with those of `retry`
        options = {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
        options["max_concurrency"] = 1  # or else it requests each size first
    try:
        system, folder = fsspec.url_to_fs(name, **options)
        if options:
            system.retries = 1
    except (ImportError, ValueError) as error:
        fix = f"Run: {install.pip_command('s3')}" if options else "Install the package that this message names."
        raise SmallsetError(f"{name}: {error}. {fix}") from None
    return Location(system, str(folder).rstrip("/"), name)


def find_photos(location: Location) -> PhotoList:
    """Find the photos below a location: by content in a local folder, by name elsewhere."""
    if location.is_local:
        listing = scan.scan(Path(location.folder))
        names, errors, notes = listing.all_photos(), listing.unreadable, scan.describe_others(listing.others)
        stats = (None if name in errors else os.stat(location.path(name)) for name in names)  # noqa: PTH116
        versions: Iterable[str] = (f"{stat.st_size} {stat.st_mtime_ns}" if stat else "" for stat in stats)
    else:
        by_name, others = _list_remote(location)
        names, errors, notes = sorted(by_name), {}, scan.describe_others(others)
        versions = (by_name[name] for name in names)
    if not names:
        raise SmallsetError(f"{location.name}: expected photos, found none. Name a folder that contains some.")
    digest = hashlib.sha256()
    for name, version in zip(names, versions, strict=True):
        digest.update(f"{version} {name}\n".encode(errors="surrogateescape"))
    return PhotoList(location, names, errors, notes, digest.hexdigest())


def _list_remote(location: Location) -> tuple[dict[str, str], dict[str, str]]:
    """The size and the version of each file that is called like a photo, and what all other files are."""
    with location.readable_errors():
        details = retry(location.system.find, location.folder, detail=True)
    location.system.invalidate_cache()  # it would keep the whole listing
    start, photos, others = location.path(""), dict[str, str](), dict[str, str]()
    for path, facts in details.items():
        if (name := path.removeprefix(start)) and path.startswith(start):
            if formats.NAMED.search(name) and not any(map(scan.is_hidden, name.split("/"))):
                version = next((facts[key] for key in VERSIONS if facts.get(key)), "")
                photos[name] = f"{facts.get('size')} {version}"
            else:
                others[name] = "a key that ends with /" if name.endswith("/") else scan.describe_name(name)
    return photos, others
