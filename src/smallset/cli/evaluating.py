"""A model measured on labelled photos: those of a local folder, or any number of them by the shards of their labels."""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallset.cli import console, prediction, remote_files, shards
from smallset.cli.prediction import Asked
from smallset.cli.remote_files import Photos, Place
from smallset.datasets import lists
from smallset.evaluation import metrics
from smallset.models import limits, model_file
from smallset.models.limits import Limits, Said
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

Errors = NDArray[np.object_]  # (n,) of each photo its error, None where there is none
UNCHECKED = "Not checked: whether the model was trained on some of these photos, which would flatter it."


class Evaluated(NamedTuple):
    """What has been measured."""

    measures: dict[str, float | None]  # as the stage evaluate has them
    tables: dict[str, pd.DataFrame]  # by the files' names; where the shards are the predictions, without these
    unread: int  # photos


def evaluate(model: Path, source: str, target: str | None, on: str | None, batch: int) -> Evaluated:
    """On the photos of a folder with class folders; nothing is written but shards."""
    if target is not None and sharded(source, target, on):
        return by_shards(model, remote_files.place(source), remote_files.place(target), on)
    return in_folder(model, Path(source), batch)


def sharded(source: str, target: str, on: str | None) -> bool:
    """Whether the predictions are shards: from or to a URL, on a cluster, or where `predict` has begun with some."""
    return "://" in source + target or on is not None or (Path(target) / shards.MANIFEST).exists()


def in_folder(model: Path, folder: Path, batch: int) -> Evaluated:
    """On those of a local folder; a warning on stderr tells how many of them the model was trained on."""
    network, classes = model_file.classifier(model)
    found, reasons, said = prediction.labelled(folder, classes)
    console.say(said)
    ends = limits.load(model)
    answers = prediction.answers(network, found.paths(), batch, reasons, ends)
    given = list(console.followed(answers, found.files))
    unread = console.complain(given)
    found, told = prediction.decoded(found, given)
    metrics.warn(model_file.seen(model, lists.digested(found).digests))
    tables = {"predictions.csv": metrics.predictions(found, told.probability)}
    return Evaluated(measured(found, told, ends), tables | by_class(found, told), unread)


def by_shards(model: Path, source: Place, output: Place, on: str | None) -> Evaluated:
    """On those of any place, by their labels in `output`; the labels that are missing there are computed first."""
    classes, ends, photos = model_file.classes(model), limits.load(model), remote_files.find(source)
    broken = {path.removeprefix(source.at("")): reason for path, reason in photos.reasons.items()}
    labels = prediction.numbered(source.name, photos.files, broken, classes)
    photos.said += prediction.beside(photos.files, labels, broken)
    shards.label(model, photos, output, as_asked(output, ends), on)
    told, errors = answers(output, photos, len(classes))
    read = pd.isna(errors)
    kept, unread = np.flatnonzero(read & (labels >= 0)), np.flatnonzero(~read & (labels >= 0))
    console.say(f"{photos.files[row]}: {errors[row]}" for row in unread)
    if not len(kept):
        raise SmallsetError(f"{source.name}: expected photos, found none that decodes.")
    console.say([UNCHECKED])
    found = lists.Photos(Path(source.folder), classes, tuple(photos.files), labels).at(kept)
    told = Said(told.probability[kept], told.unlikeness[kept])
    return Evaluated(measured(found, told, ends), by_class(found, told), len(unread))


def as_asked(output: Place, ends: Limits | None) -> Asked:
    """What `predict` was asked whose labels are there: they hold all that is measured, whatever it was."""
    known = shards.manifest_of(output) or {}
    return Asked(ends, known.get("unlike_rate", limits.RATE), known.get("coverage"))


def answers(output: Place, photos: Photos, classes: int) -> tuple[Said, Errors]:
    """What the shards say of the photos, in their order."""
    with ThreadPoolExecutor(remote_files.READERS) as pool:
        parts = list(pool.map(partial(rows, output, classes), shards.shards(photos)))
    probability, unlikeness, errors = map(np.concatenate, zip(*parts, strict=True))
    if len(errors) != len(photos.files):
        raise SmallsetError(
            f"{output.name}: expected the labels of {len(photos.files)} photos, found those of {len(errors)}. Name a "
            f"new folder with --output."
        )
    return Said(probability, unlikeness), errors


def rows(output: Place, classes: int, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64], Errors]:
    """What a shard says of n photos: probability (n, classes), unlikeness (n,), NaN where there is none, and errors."""
    table = shards.shard(output, name)
    good = table["error"].isna().to_numpy()
    probability = np.full((len(table), classes), np.nan)
    probability[good] = np.reshape(table["probabilities"][good].tolist(), (-1, classes))
    unlikeness = np.array(table.get("unlikeness", [np.nan] * len(table)), np.float64)
    return probability, unlikeness, table["error"].to_numpy(object)


def measured(found: lists.Photos, told: Said, ends: Limits | None) -> dict[str, float | None]:
    """All measures."""
    return metrics.measures(found.labels, told.probability) | metrics.called_unlike(told.unlikeness, ends)


def by_class(found: lists.Photos, told: Said) -> dict[str, pd.DataFrame]:
    """The table of the measures by class."""
    return {"classes.csv": metrics.by_class(found, told.probability)}


def write(tables: Mapping[str, pd.DataFrame], target: str) -> None:
    """As CSV, in place of those that are there."""
    output = remote_files.place(target)
    with tempfile.TemporaryDirectory() as drafts:
        for name, table in tables.items():
            path = Path(output.folder if output.local else drafts) / name
            files.write_csv(path, table)
            if not output.local:
                output.write(name, path.read_bytes())
