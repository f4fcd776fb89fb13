"""`smallset evaluate`: measure a model on other labeled photos, in a folder or in any place that fsspec reads."""

import json
import unicodedata
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from smallset.cli import console, options
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError

UNCHECKED = "Not checked: whether the model was trained on some of these photos, which would make the results too good."

Output = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|URL",
        help="Write per_class.csv and the predictions there: predictions.csv or, for a URL, with --ray-address and "
        "where smallset predict has written Parquet files, such files.",
    ),
]


class Measured(NamedTuple):
    """Labeled files with a model's answers; rows of files that cannot be read have an error."""

    table: pd.DataFrame  # file, label, error
    probabilities: NDArray[np.float64]  # (n, classes)
    ood_scores: NDArray[np.float64]  # (n,)


def evaluate(
    model: options.Model,
    photos: options.LabeledFolder,
    output: Output = None,
    ray_address: options.RayAddress = None,
    batch_size: options.BatchSize = 32,
) -> None:
    """Measure a model on labeled photos and print the metrics as JSON.

    The class folders must be among the model's classes. Files that cannot be read are named on stderr and do not
    count. A warning tells how many photos the model was trained on.

    A URL (s3://, gs://, ...) needs --output: the Parquet files that smallset predict writes there are the predictions.
    Missing ones are computed first. Whether the model was trained on the photos is not checked then.
    """
    if output is None and (ray_address is not None or "://" in photos):
        reason = "--ray-address" if ray_address is not None else photos
        raise SmallsetError(f"{reason}: the predictions need a place. Name it with --output.")
    from smallset.datasets.dataset import Dataset
    from smallset.evaluation import metrics
    from smallset.models import model_file
    from smallset.models.reference import Reference

    classes = tuple(model_file.read_metadata(model)["classes"])
    in_shards = output is not None and _uses_shards(photos, output, ray_address)
    if in_shards and output is not None:
        measured = _measure_shards(model, photos, output, ray_address, classes)
    else:
        measured = _measure_folder(model, Path(photos), classes, batch_size)
    readable = (measured.table["error"] == "").to_numpy()
    if not readable.any():
        raise SmallsetError(f"{photos}: expected photos, found none that can be read.")
    table = measured.table[readable].reset_index(drop=True).assign(split="test", group="", sha256="")
    dataset, probabilities = Dataset(table, classes), measured.probabilities[readable]
    reference = Reference.from_arrays(model_file.read_arrays(model))
    results = metrics.measure(dataset.labels, probabilities)
    results |= metrics.measure_unknown(measured.ood_scores[readable], reference)
    print(json.dumps(results, indent=2, allow_nan=False, ensure_ascii=False))
    if output is not None:
        tables = {"per_class.csv": metrics.per_class(dataset, probabilities)}
        _write(
            {**tables, **({} if in_shards else {"predictions.csv": metrics.list_predictions(dataset, probabilities)})},
            output,
        )
    raise typer.Exit(int(not readable.all()))


def label_by_folder(name: str, paths: Sequence[str], unreadable: Container[str], classes: Sequence[str]) -> list[str]:
    """The class of each path by its first folder, empty for files outside of class folders.

    SmallsetError unless all class folders with readable photos are classes of the model.
    """
    by_spelling = {unicodedata.normalize("NFC", label): label for label in classes}
    folders = [unicodedata.normalize("NFC", path.partition("/")[0]) if "/" in path else "" for path in paths]
    present = {folder for folder, path in zip(folders, paths, strict=True) if path not in unreadable} - {""}
    if not present or not present <= set(by_spelling):
        shown = ", ".join(map(text.visible, sorted(present)[:20])) or "none"
        raise SmallsetError(
            f"{name}: expected class folders that the model knows ({', '.join(classes[:20])}); found {shown}. Rename "
            f"the folders, or move those of other classes away."
        )
    return [by_spelling.get(folder, "") for folder in folders]


def _uses_shards(photos: str, output: str, address: str | None) -> bool:
    from smallset.cli import shards

    return "://" in photos + output or address is not None or (Path(output) / shards.MANIFEST).exists()


def _measure_folder(model: Path, folder: Path, classes: tuple[str, ...], batch_size: int) -> Measured:
    from smallset.datasets import scan

    classifier, result = console.load_classifier(model), scan.scan(folder)
    paths = result.all_photos()
    labels = label_by_folder(str(folder), paths, result.unreadable, classes)
    labeled = [(path, label) for path, label in zip(paths, labels, strict=True) if label]
    _print_left_out(paths, labels, result.unreadable, result.others)
    errors = {str(folder / path): reason for path, reason in result.unreadable.items()}
    names = [str(folder / path) for path, _ in labeled]
    predictions = list(console.follow(classifier.predict_paths(names, errors, batch_size=batch_size), names))
    table = pd.DataFrame(labeled, columns=["file", "label"]).assign(error=[answer.error for answer in predictions])
    seen = classifier.has_seen(files.sha256(Path(answer.file)) for answer in predictions if not answer.error)
    if any(seen):
        console.print_notes(
            [
                f"Warning: the model was trained or selected with {sum(seen)} of these {len(seen)} photos, which makes "
                f"the results too good. Use photos that it has not seen."
            ]
        )
    empty = np.full(len(classes), np.nan)
    probabilities = np.array([empty if answer.error else answer.probabilities for answer in predictions])
    return Measured(table, probabilities, np.array([answer.ood_score for answer in predictions]))


def _measure_shards(model: Path, photos: str, output: str, address: str | None, classes: tuple[str, ...]) -> Measured:
    from smallset.cli import remote_files, shards

    target, listed = remote_files.open_location(output), remote_files.find_photos(remote_files.open_location(photos))
    unreadable = {path.removeprefix(listed.location.path("")): reason for path, reason in listed.errors.items()}
    labels = label_by_folder(photos, listed.files, unreadable, classes)
    _print_left_out(listed.files, labels, unreadable, {})
    existing = shards.read_manifest(target) or {}
    query = shards.Query.for_model(model, existing.get("coverage"), existing.get("ood_rate"))
    shards.write(model, listed, target, query, address)
    with ThreadPoolExecutor(remote_files.READERS) as pool:
        rows = pd.concat(pool.map(partial(shards.read_shard, target), shards.shard_ranges(listed)), ignore_index=True)
    if len(rows) != len(labels):
        raise SmallsetError(
            f"{output}: expected predictions for {len(labels)} photos, found {len(rows)}. Name a new folder."
        )
    table = pd.DataFrame({"file": listed.files, "label": labels, "error": rows["error"].fillna("")})
    kept = np.flatnonzero(table["label"] != "")
    console.print_notes(f"{row['file']}: {row['error']}" for row in table.iloc[kept].to_dict("records") if row["error"])
    console.print_notes([UNCHECKED])
    empty = [np.nan] * len(classes)
    probabilities = [empty if values is None else list(values) for values in rows["probabilities"].iloc[kept]]
    scores = np.asarray(rows["ood_score"] if "ood_score" in rows else [np.nan] * len(rows), np.float64)[kept]
    return Measured(table.iloc[kept].reset_index(drop=True), np.array(probabilities, np.float64), scores)


def _print_left_out(
    paths: Sequence[str], labels: Sequence[str], unreadable: dict[str, str], others: dict[str, str]
) -> None:
    from smallset.datasets import scan

    outside = [path for path, label in zip(paths, labels, strict=True) if not label]
    console.print_notes(scan.describe_unreadable({path: unreadable[path] for path in outside if path in unreadable}))
    loose = {path: "in no class folder" for path in outside if path not in unreadable}
    console.print_notes(scan.describe_others({**others, **loose}))


def _write(tables: dict[str, pd.DataFrame], output: str) -> None:
    """Write tables as CSV, in place of those that are there."""
    from smallset.cli import remote_files

    location = remote_files.open_location(output)
    remote_files.write_tables({name: files.format_csv(table) for name, table in tables.items()}, location)
