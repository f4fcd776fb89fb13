"""Labels for any number of photos, wherever fsspec reads and writes: shards of Parquet, and a manifest.

A shard is a fixed range of the sorted list of photos. Its file appears whole, and a second run with the same model and
list computes those that are missing: its bytes depend on nothing else. One shard is in memory at a time.
"""

import hashlib
import io
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, NamedTuple

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
MANIFEST = "manifest.json"
PART = ".part."  # begins the name of a draft
DONE = "counts"  # the manifest's key that is there once all shards are


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

    def read(self, file: str) -> bytes | None:
        """A file's bytes; None where there is no such file."""
        try:
            return bytes(self.system.cat_file(self.at(file)))
        except FileNotFoundError:
            return None

    def write(self, file: str, content: bytes) -> None:
        """Make a file that is whole from the first moment that it has its name."""
        draft = self.at(f"{PART}{file}")
        self.system.makedirs(self.folder, exist_ok=True)
        self.system.pipe_file(draft, content)
        self.system.mv(draft, self.at(file))

    def names(self) -> list[str]:
        """Those of its files, as they are now."""
        self.system.invalidate_cache()
        found = self.system.ls(self.folder, detail=False) if self.system.exists(self.folder) else []
        return [path.rpartition("/")[2] for path in found]

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
    sizes: dict[str, int] = field(default_factory=dict)  # bytes
    failed: str = ""  # what ended the reading, which no single photo is to blame for

    def digest(self) -> str:
        """sha256 of the list: names, and sizes where there is a file."""
        lines = (f"{self.sizes.get(file, '')} {file}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def fetched(self, wanted: Iterable[str], folder: Path) -> Iterator[str]:
        """A local path for each file: its own, or that of a copy in `folder`, made a batch at a time.

        A file that is gone or forbidden has that as its reason; any other trouble ends the paths, and is in `failed`.
        """
        if self.place.local:
            yield from (self.place.at(file) for file in wanted)
            return
        names, numbers = iter(wanted), count()
        with ThreadPoolExecutor(READERS) as pool:
            while batch := list(islice(names, BATCH)):
                copies = [folder / f"{next(numbers)}{Path(file).suffix}" for file in batch]
                self.failed = next(filter(None, pool.map(self.fetch, batch, copies)), "")
                if self.failed:
                    return
                yield from map(str, copies)

    def fetch(self, file: str, copy: Path) -> str:
        """Copy a file; return what went wrong, unless it is the file's own fault and so its reason."""
        try:
            copy.write_bytes(self.place.system.cat_file(self.place.at(file)))
        except (FileNotFoundError, PermissionError) as error:
            self.reasons[str(copy)] = f"cannot be read: {walking.reason(error)}"
        except Exception as error:  # noqa: BLE001 - each file system has its own
            return f"{file}: {type(error).__name__}: {error}"
        return ""


def place(name: str) -> Place:
    """A local path or a URL of fsspec's; SmallsetError where the package that speaks its protocol is missing."""
    try:
        system, folder = fsspec.url_to_fs(name)
    except (ImportError, ValueError) as error:
        raise SmallsetError(f"{name}: {error}. Install the package that fsspec names for it.") from None
    return Place(system, str(folder).rstrip("/"), name)


def find(source: Place) -> Photos:
    """The photos below a place. A local folder is looked through as ever; elsewhere the names tell what is a photo."""
    if source.local:
        found = walking.walk(Path(source.folder))
        below = walking.ordered([*found.photos, *found.broken])
        reasons = {source.at(path): reason for path, reason in found.broken.items()}
        sizes = {path: Path(source.at(path)).stat().st_size for path in found.photos}
        photos = Photos(source, below, reasons, walking.not_counted(found.others), sizes)
    else:
        sizes = {
            path.removeprefix(f"{source.folder}/"): int(info.get("size") or 0)
            for path, info in source.system.find(source.folder, detail=True).items()
        }
        names = [file for file in sizes if formats.NAMED.search(file) and not any(map(walking.hidden, file.split("/")))]
        photos = Photos(source, sorted(names), sizes=sizes)
    if not photos.files:
        raise SmallsetError(f"{source.name}: expected photos, found none. Name a folder that has some.")
    return photos


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
        row = {"file": answer.path, "label": name, "probability": probability, "probabilities": every}
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
    counts, unread, unlike = Counter[str](), 0, 0
    for name in ranges:
        rows = shard(output, name)
        counts.update(rows["label"].dropna())
        unread += int(rows["error"].notna().sum())
        unlike += int(rows["unlike"].fillna(value=False).sum()) if "unlike" in rows else 0
    output.tidy()
    total = {"labels": dict(sorted(counts.items())), "unlike": unlike, "unread": unread}
    done = manifest | {"shards": len(ranges), DONE: total}
    output.write(MANIFEST, json.dumps(done, indent=2, ensure_ascii=False).encode())
    return done


def shard(output: Place, name: str) -> pd.DataFrame:
    """What a shard says of its photos, without the probabilities."""
    content = output.read(name)
    try:
        return pd.read_parquet(io.BytesIO(content or b"")).drop(columns="probabilities")
    except (OSError, ValueError) as error:
        raise SmallsetError(f"{output.at(name)}: not a whole shard ({error}). Delete it, and run again.") from None
