"""Labels for any number of photos, wherever fsspec reads and writes: shards of Parquet, and a manifest.

A shard is a fixed range of the sorted list of photos. Its file appears whole, and a second run with the same model and
list computes those that are missing: its bytes depend on nothing else. One shard is in memory at a time.
"""

import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from smallset.cli import console, prediction, remote_files
from smallset.cli.prediction import Answer, Ask, Asked
from smallset.cli.remote_files import Photos, Place
from smallset.models import model_file
from smallset.pipeline import cluster, files, progress
from smallset.pipeline.errors import SmallsetError

LENGTH = 1024  # photos a shard
BATCH = 32  # photos that are read and computed at a time; it divides LENGTH, so that no batch is of two shards
MANIFEST = "manifest.json"
DONE = "counts"  # the manifest's key that is there once all shards are


def label(model: Path, photos: Photos, output: Place, asked: Asked, on: str | None = None) -> dict[str, Any]:
    """Write the labels of these photos to `output`, 00000.parquet and so on; return the manifest.

    A shard has a row for each photo: file, label, probability, probabilities (in the order of the manifest's classes),
    what `asked` tells, error. SmallsetError where the output has labels of another model, list or question.
    on: the address of a Ray cluster; without it that of the environment, or none.
    """
    network, classes = model_file.classifier(model)
    console.say(photos.said)
    manifest = begin(output, described(model, classes, photos, asked))
    ranges, there = shards(photos), finished(output)
    missing = {name: rows for name, rows in ranges.items() if name not in there}
    with progress.bar(total=len(photos.files), unit=" photos") as bar:
        bar.update(len(photos.files) - sum(len(photos.files[rows]) for rows in missing.values()))
        if cluster.address(on):
            setup = partial(worker, model.resolve(), photos.place.name, output.name, asked)
            sizes = cluster.results(setup, items(photos, missing), "shard", on)
        else:
            ask = prediction.asking(network, BATCH, asked.limits)
            sizes = written(ask, photos, missing, output, classes, asked)
        for size in sizes:
            bar.update(size)
    return finish(output, manifest, ranges)


def shards(photos: Photos) -> dict[str, slice]:
    """The name of each shard, and which of the photos it is about."""
    return {f"{at // LENGTH:05}.parquet": slice(at, at + LENGTH) for at in range(0, len(photos.files), LENGTH)}


def finished(output: Place) -> set[str]:
    """The names of the shards that are there."""
    return {name for name in output.names() if name.endswith(".parquet") and not name.startswith(".")}


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
    network, classes = model_file.classifier(model)
    ask, here, output = (
        prediction.asking(network, BATCH, asked.limits),
        remote_files.place(source),
        remote_files.place(target),
    )

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
    known = manifest_of(output)
    if known is None:
        if finished(output):
            raise SmallsetError(f"{output.name}: has Parquet files and no {MANIFEST}. Name a new folder with --output.")
        output.write(MANIFEST, json.dumps(wanted, indent=2, ensure_ascii=False).encode())
        return wanted
    if other := [key for key, value in wanted.items() if known.get(key) != value]:
        raise SmallsetError(
            f"{output.name}: has labels of another {' and '.join(other)}. Name a new folder with --output, or take "
            f"this one away."
        )
    return wanted


def manifest_of(output: Place) -> dict[str, Any] | None:
    """The manifest; None where there is none. SmallsetError for a file of that name that is something else."""
    content = output.read(MANIFEST)
    if content is None:
        return None
    with suppress(ValueError):
        if isinstance(known := json.loads(content), dict):
            return known
    raise SmallsetError(f"{output.at(MANIFEST)}: not a manifest. Name a new folder with --output.")


def parquet(answers: Sequence[Answer], classes: Sequence[str], asked: Asked) -> bytes:
    """The rows of a shard: the same answers give the same bytes."""
    rows = []
    for answer in answers:
        best = prediction.best(answer, classes, 1)
        name, probability = best[0] if best else (None, None)
        file = os.fsencode(answer.path).decode(errors="backslashreplace")  # Parquet has UTF-8 alone
        row = {"file": file, "label": name, "probability": probability} | asked.told(answer, classes)
        # Not rounded: `evaluate` measures them.
        exact = {"probabilities": answer.probability.tolist(), "unlikeness": float(answer.unlikeness)}
        rows.append(row | ({"error": answer.error} if answer.error else exact))
    return table(rows, asked)


def table(rows: Sequence[dict[str, Any]], asked: Asked) -> bytes:
    """As Parquet, with the same types in every shard, whatever its rows are; a value that is missing is null."""
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
    with ThreadPoolExecutor(remote_files.READERS) as pool:
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
    """What a shard says of its photos."""
    content = output.read(name)
    try:
        return pd.read_parquet(io.BytesIO(content or b""))
    except (OSError, ValueError) as error:
        raise SmallsetError(f"{output.at(name)}: not a whole shard ({error}). Delete it, and run again.") from None
