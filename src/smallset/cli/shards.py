"""Predictions for any number of photos: Parquet files (shards) and a manifest, wherever fsspec reads and writes.

A shard is a fixed range of the sorted list of photos. It appears completely or not at all, and its bytes depend only
on the model, the list and the query: a second run computes only what is missing. One shard is in memory at a time.
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
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from smallset.cli import console, remote_files
from smallset.cli.predict import no_reference
from smallset.cli.remote_files import Location, PhotoList
from smallset.models import model_file
from smallset.models.reference import COVERAGE, OOD_RATE
from smallset.pipeline import cluster, files, install, progress
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier, Prediction

LENGTH = 1024  # photos per shard
BATCH = 32  # photos that are computed at a time; it divides LENGTH, so that no batch belongs to two shards
MANIFEST = "manifest.json"


class Query(NamedTuple):
    """What shards contain beside labels. coverage: None for no prediction sets; ood_rate: None for no OOD scores."""

    coverage: float | None
    ood_rate: float | None

    @classmethod
    def for_model(cls, model: Path, coverage: float | None, ood_rate: float | None) -> "Query":
        """The query for a model; SmallsetError when it asks for what the model cannot give."""
        if "axes" in model_file.read_arrays(model):
            return cls(coverage, OOD_RATE if ood_rate is None else ood_rate)
        if coverage is not None or ood_rate is not None:
            raise no_reference(model)
        return cls(None, None)

    @property
    def columns(self) -> list[str]:
        """The columns between the probabilities and the error."""
        sets = ["prediction_set"] if self.coverage is not None else []
        return ["unknown", "ood_score", *sets] if self.ood_rate is not None else []


class Item(NamedTuple):
    """A shard as a cluster's worker receives it."""

    name: str
    files: list[str]
    errors: dict[str, str]

    def __str__(self) -> str:
        return self.name


def write(model: Path, photos: PhotoList, output: Location, query: Query, address: str | None = None) -> dict[str, Any]:
    """Write the missing shards of these photos and return the manifest.

    SmallsetError when the output contains predictions of another model, list or query. address: of a Ray cluster.
    """
    classes = model_file.read_metadata(model)["classes"]
    console.print_notes(photos.notes)
    manifest = _begin(output, _describe(model, classes, photos, query))
    ranges, finished = shard_ranges(photos), _list_shards(output)
    missing = {name: rows for name, rows in ranges.items() if name not in finished}
    with progress.bar(total=len(photos.files), unit=" photos") as bar:
        bar.update(len(photos.files) - sum(len(photos.files[rows]) for rows in missing.values()))
        if cluster.address(address):
            setup = partial(_start_worker, model.resolve(), photos.location.name, output.name, query)
            sizes = cluster.results(setup, _items(photos, missing), "shard", address)
        else:
            sizes = _write_shards(console.load_classifier(model), photos, missing, output, query)
        for size in sizes:
            bar.update(size)
    return _finish(output, manifest, ranges)


def shard_ranges(photos: PhotoList) -> dict[str, slice]:
    """The photos of each shard, by its name."""
    return {
        f"{start // LENGTH:05}.parquet": slice(start, start + LENGTH) for start in range(0, len(photos.files), LENGTH)
    }


def _list_shards(output: Location) -> set[str]:
    return {name for name in output.list_names() if name.endswith(".parquet") and not name.startswith(".")}


def _write_shards(
    classifier: "Classifier", photos: PhotoList, missing: Mapping[str, slice], output: Location, query: Query
) -> Iterator[int]:
    """Write shards; yield the number of photos of each one that is complete."""
    wanted = chain.from_iterable(photos.files[rows] for rows in missing.values())
    with tempfile.TemporaryDirectory() as copies:
        paths = photos.fetch(wanted, Path(copies))
        coverage, ood_rate = query.coverage or COVERAGE, OOD_RATE if query.ood_rate is None else query.ood_rate
        predictions = classifier.predict_paths(paths, photos.errors, coverage, ood_rate, BATCH)
        for name, rows in missing.items():
            names = photos.files[rows]
            table = list(_rows(islice(predictions, len(names)), names, photos, query))
            if len(table) < len(names):
                raise SmallsetError(f"{photos.location.name}: {photos.failure}. The same command continues from here.")
            output.write(name, _to_parquet(table, query))
            yield len(names)


def _items(photos: PhotoList, missing: Mapping[str, slice]) -> list[Item]:
    """The missing shards, each with the names and errors of its photos."""
    path = photos.location.path
    return [
        Item(name, names, {path(file): photos.errors[path(file)] for file in names if path(file) in photos.errors})
        for name, names in ((name, photos.files[rows]) for name, rows in missing.items())
    ]


def _start_worker(model: Path, source: str, target: str, query: Query) -> Callable[[Item], int]:
    """In a process of the cluster: a function that writes a shard and returns its number of photos."""
    classifier = console.load_classifier(model)
    location, output = remote_files.open_location(source), remote_files.open_location(target)

    def write_shard(item: Item) -> int:
        photos = PhotoList(location, item.files, item.errors)
        return sum(_write_shards(classifier, photos, {item.name: slice(None)}, output, query))

    return write_shard


def _rows(
    predictions: "Iterable[Prediction]", names: Sequence[str], photos: PhotoList, query: Query
) -> Iterator[dict[str, Any]]:
    """A row for each prediction, under the photo's name in its location. Copies are removed."""
    for prediction, name in zip(predictions, names, strict=False):
        if not photos.location.is_local:
            Path(prediction.file).unlink(missing_ok=True)
            photos.errors.pop(prediction.file, None)
        file = os.fsencode(name).decode(errors="backslashreplace")  # Parquet contains UTF-8 only
        if prediction.error:
            yield {"file": file, "error": prediction.error}
            continue
        values = {"label": prediction.label, "probability": float(f"{prediction.probability:.6g}")}
        extras = {column: getattr(prediction, column) for column in query.columns}
        # These are not rounded, because `smallset evaluate` measures them.
        yield {"file": file, **values, "probabilities": prediction.probabilities.tolist(), **extras}


def _to_parquet(rows: Sequence[dict[str, Any]], query: Query) -> bytes:
    """Rows as Parquet, with the same types in every shard; a missing value is null."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise install.missing_extra("--output", "pyarrow", "shards") from None
    types = {"file": pa.string(), "label": pa.string(), "probability": pa.float64()}
    types |= {"probabilities": pa.list_(pa.float64())}
    extras = {"unknown": pa.bool_(), "ood_score": pa.float64(), "prediction_set": pa.list_(pa.string())}
    types |= {name: extras[name] for name in query.columns} | {"error": pa.string()}
    content = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=pa.schema(types)), content)
    return content.getvalue()


def _describe(model: Path, classes: Sequence[str], photos: PhotoList, query: Query) -> dict[str, Any]:
    """All that the shards depend on."""
    return {
        "model": files.sha256(model),
        "classes": list(classes),
        "photos": len(photos.files),
        "list": photos.digest(),
        "ood_rate": query.ood_rate,
        "coverage": query.coverage,
    }


def _begin(output: Location, manifest: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of a new folder; SmallsetError for a folder with other predictions: none are replaced."""
    existing = read_manifest(output)
    if existing is None:
        if _list_shards(output):
            raise SmallsetError(
                f"{output.name}: contains Parquet files but no {MANIFEST}. Name a new folder with --output."
            )
        output.write(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    elif different := [key for key, value in manifest.items() if existing.get(key) != value]:
        raise SmallsetError(
            f"{output.name}: contains predictions for another {' and '.join(different)}. Name a new folder with "
            f"--output, or remove this one."
        )
    return manifest


def read_manifest(output: Location) -> dict[str, Any] | None:
    """The manifest; None when there is none, SmallsetError when the file is something else."""
    content = output.read(MANIFEST)
    if content is None:
        return None
    with suppress(ValueError):
        if isinstance(manifest := json.loads(content), dict):
            return manifest
    raise SmallsetError(
        f"{output.path(MANIFEST)}: expected a manifest of smallset predict. Name a new folder with --output."
    )


def _finish(output: Location, manifest: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Count what all shards contain and add the counts to the manifest."""
    labels = Counter[str]()
    unread = unknown = 0
    with ThreadPoolExecutor(remote_files.READERS) as pool:
        for table in pool.map(partial(read_shard, output), names):
            labels.update(table["label"].dropna())
            unread += int(table["error"].notna().sum())
            unknown += int(table["unknown"].fillna(value=False).sum()) if "unknown" in table else 0
    output.remove_drafts()
    counts = {"labels": dict(sorted(labels.items())), "unknown": unknown, "unread": unread}
    manifest = manifest | {"shards": len(names), "counts": counts}
    output.write(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    return manifest


def read_shard(output: Location, name: str) -> pd.DataFrame:
    """The rows of a shard; SmallsetError when it is damaged or missing."""
    content = output.read(name)
    try:
        return pd.read_parquet(io.BytesIO(content or b""))
    except (OSError, ValueError) as error:
        raise SmallsetError(
            f"{output.path(name)}: not a complete shard ({error}). Delete it and run the command again."
        ) from None
