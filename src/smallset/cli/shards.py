"""Predictions for any number of photos: Parquet files (shards) and a manifest, wherever fsspec reads and writes.

A shard is a fixed range of the sorted list of photos. It appears completely or not at all, and its bytes depend only
on the model, the list and the query: a second run computes only what is missing. One shard is in memory at a time.
"""

import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from smallset.cli import console, remote_files
from smallset.cli.drift import Drift
from smallset.cli.predict import Query
from smallset.cli.remote_files import Location, PhotoList
from smallset.models import model_file
from smallset.models.reference import Reference
from smallset.pipeline import cluster, files, install, progress
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier

LENGTH = 1024  # photos per shard
BATCH = 32  # photos that are computed at a time; it divides LENGTH, so that no batch belongs to two shards
MANIFEST = "manifest.json"
MANIFEST_KEYS = {"photos": "number of photos", "list": "list of photos (names, sizes, dates)"}  # others are clear
NEW_FOLDER = "Name a new folder with --output"


class Shard(NamedTuple):
    """Some photos, as a cluster's worker receives them, and the name of the file with their predictions."""

    name: str
    files: list[str]
    errors: dict[str, str]


def write(model: Path, photos: PhotoList, output: Location, query: Query, address: str | None = None) -> dict[str, Any]:
    """Write the missing shards of these photos and return the manifest.

    SmallsetError when the output contains predictions of another model, list or query. address: of a Ray cluster.
    """
    console.print_notes(photos.notes)
    classes = list(model_file.read_metadata(model)["classes"])
    manifest = {
        "model": files.sha256(model),
        "classes": classes,
        "photos": len(photos.files),
        "list": photos.digest,
        "ood_rate": query.ood_rate,
        "coverage": query.coverage,
    }
    _begin(output, manifest)
    shards, finished = _split(photos), set(output.list_names())
    missing = [shard for shard in shards if shard.name not in finished]
    with progress.bar(total=len(photos.files), unit=" photos") as bar:
        bar.update(len(photos.files) - sum(len(shard.files) for shard in missing))
        if cluster.address(address):
            setup = partial(_start_worker, model.resolve(), photos.location.name, output.name, query)
            sizes = cluster.results(setup, missing, "shard", address)
        else:
            sizes = _write_shards(console.load_classifier(model), photos.location, missing, output, query)
        for size in sizes:
            bar.update(size)
    drift = Drift(Reference.from_arrays(model_file.read_arrays(model), len(classes)), classes, query.ood_rate)
    manifest |= {"shards": len(shards), "counts": _count(output, len(shards), drift), "drift": drift.compare()}
    for draft in (name for name in output.list_names() if name.startswith(remote_files.DRAFT)):  # of a killed run
        output.system.rm_file(output.path(draft))
    _write_manifest(output, manifest)
    return manifest


def _split(photos: PhotoList) -> list[Shard]:
    parts = [photos.files[start : start + LENGTH] for start in range(0, len(photos.files), LENGTH)]
    return [
        Shard(f"{number:05}.parquet", part, {file: photos.errors[file] for file in part if file in photos.errors})
        for number, part in enumerate(parts)
    ]


def _start_worker(model: Path, source: str, target: str, query: Query) -> Callable[[Shard], int]:
    """In a process of the cluster: a function that writes a shard and returns its number of photos."""
    classifier = console.load_classifier(model)
    location, output = remote_files.open_location(source), remote_files.open_location(target)
    return lambda shard: sum(_write_shards(classifier, location, [shard], output, query))


def _write_shards(
    classifier: "Classifier", location: Location, shards: Sequence[Shard], output: Location, query: Query
) -> Iterator[int]:
    """Write shards; yield the number of photos of each one that is complete."""
    errors = {location.path(file): reason for shard in shards for file, reason in shard.errors.items()}
    with tempfile.TemporaryDirectory() as copies:
        paths = location.fetch(chain.from_iterable(shard.files for shard in shards), errors, Path(copies))
        predictions = query.predict(classifier, paths, errors, BATCH)
        for shard in shards:
            rows = []
            for file, prediction in zip(shard.files, predictions, strict=False):
                if not location.is_local:
                    Path(prediction.file).unlink(missing_ok=True)
                row: dict[str, Any] = {"file": os.fsencode(file).decode(errors="backslashreplace")}  # Parquet has UTF-8
                if prediction.error:
                    row["error"] = prediction.error
                else:  # only the probability is rounded, because `smallset evaluate` measures the others
                    row |= {column: getattr(prediction, column) for column in ("label", *query.columns)}
                    row["probability"] = float(f"{prediction.probability:.6g}")
                    row["probabilities"] = prediction.probabilities.tolist()
                rows.append(row)
            output.write(shard.name, _to_parquet(rows, query))
            yield len(rows)


def _to_parquet(rows: list[dict[str, Any]], query: Query) -> bytes:
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
    parquet.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types)), content)
    return content.getvalue()


def _begin(output: Location, manifest: dict[str, Any]) -> None:
    """Write the manifest of a new folder. SmallsetError when the folder contains predictions of another run."""
    existing = read_manifest(output)
    if existing is None:
        if any(name.endswith(".parquet") and not name.startswith(".") for name in output.list_names()):
            raise SmallsetError(f"{output.name}: contains Parquet files but no {MANIFEST}. {NEW_FOLDER}.")
        _write_manifest(output, manifest)
    elif different := [key for key, value in manifest.items() if existing.get(key) != value]:
        names = (MANIFEST_KEYS.get(key, key) for key in different)
        problem = f"contains predictions with another {' and another '.join(names)}"
        raise SmallsetError(f"{output.name}: {problem}. {NEW_FOLDER}, or remove this one.")


def read_manifest(output: Location) -> dict[str, Any] | None:
    """The manifest; None when there is none, SmallsetError when the file is something else."""
    content = output.read(MANIFEST)
    if content is None:
        return None
    with suppress(ValueError):
        if isinstance(manifest := json.loads(content), dict):
            return manifest
    raise SmallsetError(
        f"{output.path(MANIFEST)}: expected a manifest that smallset predict has written. {NEW_FOLDER}."
    )


def _write_manifest(output: Location, manifest: dict[str, Any]) -> None:
    output.write(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False).encode())


def _count(output: Location, shards: int, drift: Drift) -> dict[str, Any]:
    """What all shards contain; their predictions are added to `drift`."""
    labels, unread, unknown = Counter[str](), 0, 0
    for table in read_shards(output, shards):
        labels.update(table["label"].dropna())
        good = table[table["error"].isna()]
        unread += len(table) - len(good)
        if "unknown" in good and len(good):
            unknown += int(good["unknown"].sum())
            drift.add(good["unknown"].tolist(), np.stack(good["probabilities"].tolist()))
    return {"labels": dict(sorted(labels.items())), "unknown": unknown, "unread": unread}


def read_shards(output: Location, count: int) -> Iterator[pd.DataFrame]:
    """The rows of each shard; SmallsetError when one is damaged or missing."""

    def read(number: int) -> pd.DataFrame:
        name = f"{number:05}.parquet"
        content = output.read(name) or b""
        try:
            return pd.read_parquet(io.BytesIO(content))
        except (OSError, ValueError) as error:
            problem = f"not a complete Parquet file ({error})"
            raise SmallsetError(f"{output.path(name)}: {problem}. Delete it and run the command again.") from None

    with ThreadPoolExecutor(remote_files.READERS) as pool:
        yield from pool.map(read, range(count))
