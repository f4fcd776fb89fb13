"""Labels for any number of photos, wherever fsspec reads and writes: shards of Parquet, and a manifest.

A shard is a fixed range of the sorted list of photos. Its file appears whole, and a second run with the same model and
list computes those that are missing: its bytes depend on nothing else. One shard is in memory at a time.
"""

import hashlib
import io
import json
import os
import sys
import tempfile
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import fsspec
import pandas as pd

from smallset.networks import saving
from smallset.photos import formats, walking
from smallset.pipeline import cluster, progress
from smallset.pipeline.errors import SmallsetError
from smallset.storage import files
from smallset.tools import prediction
from smallset.tools.prediction import Answer, Ask, Asked

LENGTH = 1024  # photos a shard
BATCH = 32  # photos that are read and computed at a time; it divides LENGTH, so that no batch is of two shards
READERS = 16  # files that are read at once from a place that is not local
AHEAD = 64  # copies of them that wait for their turn, at most
WAITS = (1.0, 5.0, 25.0)  # s, after which a place that failed is tried again
MANIFEST = "manifest.json"
PART = ".part."  # begins the name of a draft
DONE = "counts"  # the manifest's key that is there once all shards are

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
                f"after the last whole shard."
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
            draft = self.at(f"{PART}{file}")
            self.system.makedirs(self.folder, exist_ok=True)
            patiently(self.system.pipe_file, draft, content)
            self.system.mv(draft, self.at(file))

    def names(self) -> list[str]:
        """Those of its files, as they are now."""
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

    def shards(self) -> set[str]:
        """The names of those that are finished."""
        return {name for name in self.names() if name.endswith(".parquet") and not name.startswith(".")}

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
            self.reasons[str(copy)] = f"cannot be read: {walking.reason(error)}"
        except Exception as error:  # noqa: BLE001 - each file system has its own
            return f"{file}: {words(error)}"
        return ""


def words(error: Exception) -> str:
    """An error on one line, with its kind, without which some say nothing."""
    told = walking.reason(error) if isinstance(error, OSError) else str(error)
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
    found = walking.walk(Path(source.folder))
    below = walking.ordered([*found.photos, *found.broken]) if found.broken else found.photos
    sizes = array("q", (-1 if path in found.broken else os.stat(source.at(path)).st_size for path in below))  # noqa: PTH116 - many
    reasons = {source.at(path): reason for path, reason in found.broken.items()}
    return Photos(source, below, reasons, walking.not_counted(found.others), sizes)


def listed(source: Place) -> Photos:
    """Those of any other place, by their names."""
    with source.reached():
        found = source.system.find(source.folder, detail=True)
    source.system.invalidate_cache()  # it keeps all that it has listed
    whole = (path.removeprefix(f"{source.folder}/") for path in found if path.startswith(f"{source.folder}/"))
    files = sorted(
        file for file in whole if formats.NAMED.search(file) and not any(map(walking.hidden, file.split("/")))
    )
    sizes = array("q", (-1 if (size := found[source.at(file)].get("size")) is None else int(size) for file in files))
    return Photos(source, files, sizes=sizes)


def label(model: Path, source: str, target: str, asked: Asked, on: str | None = None) -> dict[str, Any]:
    """Write the labels of all photos below `source` to `target`/00000.parquet and so on; return the manifest.

    A shard has a row for each photo: file, label, probability, probabilities (in the order of the manifest's classes),
    what `asked` tells, error. SmallsetError where the target has labels of another model, list or question.
    on: the address of a Ray cluster; without it that of the environment, or none.
    """
    network, classes = saving.classifier(model)
    photos, output = find(place(source)), place(target)
    for line in photos.said:
        print(line, file=sys.stderr)
    manifest = begin(output, described(model, classes, photos, asked))
    ranges = {f"{at // LENGTH:05}.parquet": (at, at + LENGTH) for at in range(0, len(photos.files), LENGTH)}
    there = output.shards()
    missing = {name: slice(*ends) for name, ends in ranges.items() if name not in there}
    with progress.bar(total=len(photos.files), unit=" photos") as bar:
        bar.update(len(photos.files) - sum(len(photos.files[rows]) for rows in missing.values()))
        if cluster.address(on):
            sizes = cluster.results(
                partial(worker, model.resolve(), source, target, asked), items(photos, missing), "shard", on
            )
        else:

            def ask(paths: Iterable[str], reasons: Mapping[str, str]) -> Iterator[Answer]:
                return prediction.answers(network, paths, BATCH, reasons, asked.limits)

            sizes = written(ask, photos, missing, output, classes, asked)
        for size in sizes:
            bar.update(size)
    return finish(output, manifest, ranges)


def written(
    ask: Ask, photos: Photos, missing: Mapping[str, slice], output: Place, classes: Sequence[str], asked: Asked
) -> Iterator[int]:
    """Write these shards; yield how many photos each has, once it is there."""
    wanted = chain.from_iterable(photos.files[rows] for rows in missing.values())
    with tempfile.TemporaryDirectory() as copies:
        answers = ask(photos.fetched(wanted, Path(copies)), photos.reasons)
        for name, rows in missing.items():
            own = photos.files[rows]
            found = list(named(islice(answers, len(own)), own, photos))
            if len(found) < len(own):
                raise SmallsetError(
                    f"{photos.place.name}: {photos.failed}. The same command goes on after the last whole shard."
                )
            output.write(name, parquet(found, classes, asked))
            yield len(own)


class Item(NamedTuple):
    """A shard, as it goes to a worker of a cluster."""

    name: str
    files: list[str]
    reasons: dict[str, str]

    def __str__(self) -> str:
        return self.name


def items(photos: Photos, missing: Mapping[str, slice]) -> list[Item]:
    """The shards that are missing, each with its own photos' names and reasons."""
    own = {name: photos.files[rows] for name, rows in missing.items()}
    at = photos.place.at
    return [
        Item(name, below, {at(file): photos.reasons[at(file)] for file in below if at(file) in photos.reasons})
        for name, below in own.items()
    ]


def worker(model: Path, source: str, target: str, asked: Asked) -> Callable[[Item], int]:
    """In a process of the cluster: what writes a shard and returns how many photos it has."""
    network, classes = saving.classifier(model)
    ask, here, output = prediction.asking(network, BATCH, asked.limits), place(source), place(target)

    def write(item: Item) -> int:
        photos = Photos(here, item.files, item.reasons)
        return sum(written(ask, photos, {item.name: slice(None)}, output, classes, asked))

    return write


def named(answers: Iterable[Answer], own: Sequence[str], photos: Photos) -> Iterator[Answer]:
    """The answers under the names that the photos have in their place; copies are removed."""
    for answer, file in zip(answers, own, strict=False):
        if not photos.place.local:
            Path(answer.path).unlink(missing_ok=True)
            photos.reasons.pop(answer.path, None)
        yield answer._replace(path=file)


def described(model: Path, classes: Sequence[str], photos: Photos, asked: Asked) -> dict[str, Any]:
    """All that the labels depend on."""
    return {
        "model": files.sha256(model),
        "classes": list(classes),
        "photos": len(photos.files),
        "list": photos.digest(),
        "unlike_rate": asked.rate,
        "coverage": asked.coverage,
    }


def begin(output: Place, wanted: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of a new folder; SmallsetError for one of other labels, which are never replaced."""
    content = output.read(MANIFEST)
    if content is None:
        if output.shards():
            raise SmallsetError(f"{output.name}: has Parquet files and no {MANIFEST}. Name a new folder with --output.")
        output.write(MANIFEST, json.dumps(wanted, indent=2, ensure_ascii=False).encode())
        return wanted
    with understood(output):
        known = json.loads(content)
        other = [key for key, value in wanted.items() if known.get(key) != value]
    if other:
        raise SmallsetError(
            f"{output.name}: has labels of another {' and '.join(other)}. Name a new folder with --output, or take "
            f"this one away."
        )
    return wanted


@contextmanager
def understood(output: Place) -> Iterator[None]:
    """An error with the cure for a manifest that is none."""
    try:
        yield
    except (ValueError, AttributeError) as error:
        raise SmallsetError(
            f"{output.at(MANIFEST)}: not a manifest ({error}). Name a new folder with --output."
        ) from None


def parquet(answers: Sequence[Answer], classes: Sequence[str], asked: Asked) -> bytes:
    """The rows of a shard: the same answers give the same bytes."""
    rows = []
    for answer in answers:
        best = prediction.best(answer, classes, 1)
        name, probability = best[0] if best else (None, None)
        every = None if answer.error else [float(f"{value:.6g}") for value in answer.probability]
        file = os.fsencode(answer.path).decode(errors="backslashreplace")  # Parquet has UTF-8 alone
        row = {"file": file, "label": name, "probability": probability, "probabilities": every}
        rows.append(row | asked.told(answer, classes) | {"error": answer.error or None})
    return table(rows, asked)


def table(rows: Sequence[dict[str, Any]], asked: Asked) -> bytes:
    """As Parquet, with the same types in every shard, whatever its rows are."""
    try:
        import pyarrow as pa
        from pyarrow import parquet as pq
    except ImportError:
        raise SmallsetError('Parquet needs pyarrow. Run: pip install "smallset[shards]"') from None
    types = {"file": pa.string(), "label": pa.string(), "probability": pa.float64()}
    types |= {"probabilities": pa.list_(pa.float64())}
    told = {"unlike": pa.bool_(), "unlikeness": pa.float64(), "possible": pa.list_(pa.string())}
    types |= {name: told[name] for name in asked.columns()} | {"error": pa.string()}
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=pa.schema(types)), content)
    return content.getvalue()


def finish(output: Place, manifest: dict[str, Any], ranges: Collection[str]) -> dict[str, Any]:
    """Count what all shards say, and add it to the manifest. SmallsetError where one is damaged or missing."""
    counts = Counter[str]()
    unread = unlike = 0
    with ThreadPoolExecutor(READERS) as pool:
        for labels, broken, strange in pool.map(partial(counted, output), ranges):
            counts += labels
            unread, unlike = unread + broken, unlike + strange
    output.tidy()
    total = {"labels": dict(sorted(counts.items())), "unlike": unlike, "unread": unread}
    done = manifest | {"shards": len(ranges), DONE: total}
    output.write(MANIFEST, json.dumps(done, indent=2, ensure_ascii=False).encode())
    return done


def counted(output: Place, name: str) -> tuple[Counter[str], int, int]:
    """Of a shard: how many photos have each label, how many are unread, and how many unlike."""
    rows = shard(output, name)
    strange = rows["unlike"].fillna(value=False).sum() if "unlike" in rows else 0
    return Counter[str](rows["label"].dropna()), int(rows["error"].notna().sum()), int(strange)


def shard(output: Place, name: str) -> pd.DataFrame:
    """What a shard says of its photos, without the probabilities."""
    content = output.read(name)
    try:
        return pd.read_parquet(io.BytesIO(content or b"")).drop(columns="probabilities")
    except (OSError, ValueError) as error:
        raise SmallsetError(f"{output.at(name)}: not a whole shard ({error}). Delete it, and run again.") from None
