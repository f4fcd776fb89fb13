"""`smallset evaluate`: measure a model on other labeled photos, in a folder or in any place that fsspec reads."""

import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from smallset.cli import console, options
from smallset.cli.predict import Query
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.cli.remote_files import Location, PhotoList
    from smallset.datasets.dataset import Dataset

UNCHECKED = "Not checked: whether the model was trained on some of these photos, which would make the results too good."

Output = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|URL",
        help="Write per_class.csv and the predictions there. The predictions are predictions.csv. They are Parquet "
        "files for a URL, with --ray-address, and in a folder where smallset predict has written such files.",
    ),
]


def evaluate(
    model: options.Model,
    photos: options.LabeledFolder,
    output: Output = None,
    ray_address: options.RayAddress = None,
    batch_size: options.BatchSize = 32,
) -> None:
    """Measure a model on labeled photos: print the metrics as JSON, and on stderr what they mean.

    The class folders must be among the model's classes. Files that cannot be read are named on stderr and do not
    count. A warning tells how many photos the model was trained on.

    A URL (s3://, gs://, ...) needs --output: the Parquet files that smallset predict writes there are the predictions.
    Missing ones are computed first. Whether the model was trained on the photos is not checked then.
    """
    if output is None and (ray_address is not None or "://" in photos):
        reason = "--ray-address" if ray_address is not None else photos
        raise SmallsetError(f"{reason}: the predictions need a place. Name it with --output.")
    from smallset.cli import remote_files, shards
    from smallset.datasets.dataset import Dataset
    from smallset.evaluation import metrics
    from smallset.models import model_file

    classes = model_file.read_metadata(model)["classes"]
    photo_list = remote_files.find_photos(remote_files.open_location(photos))
    target = remote_files.open_location(output) if output is not None else None
    labels = _label_by_folder(photo_list, classes)
    is_remote = "://" in f"{photos}{output}" or ray_address is not None
    in_shards = target is not None and (is_remote or shards.MANIFEST in target.list_names())
    if target is not None and in_shards:
        table = _read_predictions(model, photo_list, labels, target, ray_address)
    else:
        table = _predict(model, photo_list, labels, batch_size)
    readable = table[table["error"] == ""].reset_index(drop=True)
    if readable.empty:
        raise SmallsetError(f"{photos}: expected photos, found none that can be read.")
    dataset = Dataset(readable[["file", "label"]].assign(split="test", group="", sha256=""), tuple(classes))
    probabilities = np.stack([*readable["probabilities"]])
    per_class = metrics.per_class(dataset, probabilities)
    results = _measure(model, dataset, probabilities, readable["ood_score"].to_numpy(np.float64), per_class)
    _explain(results, per_class, model.stem)
    print(json.dumps(results, indent=2, allow_nan=False, ensure_ascii=False))
    if target is not None:
        tables = {"per_class.csv": per_class}
        if not in_shards:
            tables["predictions.csv"] = metrics.list_predictions(dataset, probabilities)
        for name, content in tables.items():
            target.write(name, files.format_csv(content).encode())
    raise typer.Exit(int(len(readable) < len(table)))


def _measure(
    model: Path,
    dataset: "Dataset",
    probabilities: NDArray[np.float64],
    ood_scores: NDArray[np.float64],
    per_class: pd.DataFrame,
) -> dict[str, Any]:
    """The metrics of a model on all photos, the share of unknown photos, and the recall of each class."""
    from smallset.evaluation import metrics
    from smallset.models import model_file
    from smallset.models.reference import Reference

    reference = Reference.from_arrays(model_file.read_arrays(model), len(dataset.classes))
    recall = zip(per_class["class"], per_class["recall"], per_class["n"], strict=True)
    results = metrics.measure_photos(dataset, probabilities) | metrics.measure_unknown(ood_scores, reference)
    return results | {"recall": {label: round(share, 6) if n else None for label, share, n in recall}}


def _explain(results: dict[str, Any], per_class: pd.DataFrame, model: str) -> None:
    """Print the accuracy and the recall of each class with their intervals, the baseline, and what the keys mean."""
    from smallset.evaluation import comparison, metrics

    score = f"{results['accuracy']:.3f} (95 % interval {results['low']:.3f}–{results['high']:.3f})"
    notes = [f"Accuracy on {results['n']:,} photos: {score}. Balanced accuracy: {results['balanced_accuracy']:.3f}."]
    notes.append(comparison.describe_baseline(results | {"model": model}))
    notes.append("Recall, the share of each class that is right, the lowest first:")
    rows = []
    for name, _, recall, low, high, _, n in per_class.sort_values("recall", kind="stable").itertuples(index=False):
        interval = f"{recall:.3f} of {text.counted(n, 'photo')} (95 % interval {low:.3f}–{high:.3f})"
        rows.append(f"  {name}: {interval if n else 'no photos'}")
    notes += text.first_lines(rows, "  and {} more classes; --output writes per_class.csv with all")
    console.print_notes([*notes, "The keys:", *(f"  {key}: {metrics.MEANINGS[key]}" for key in results)])


def _label_by_folder(photos: "PhotoList", classes: list[str]) -> list[str]:
    """The class of each photo by its first folder, empty for files outside of class folders, which are counted.

    SmallsetError unless all class folders with readable photos are classes of the model.
    """
    from smallset.datasets import scan

    by_name = {unicodedata.normalize("NFC", label): label for label in classes}
    folders = [unicodedata.normalize("NFC", file.rpartition("/")[0].partition("/")[0]) for file in photos.files]
    present = {folder for folder, file in zip(folders, photos.files, strict=True) if file not in photos.errors} - {""}
    if not present or not present <= set(by_name):
        shown = ", ".join(map(text.visible, sorted(present)[:20])) or "none"
        raise SmallsetError(
            f"{photos.location.name}: expected class folders that the model knows ({', '.join(classes[:20])}); found "
            f"{shown}. Rename the folders, or move those of other classes away."
        )
    labels = [by_name.get(folder, "") for folder in folders]
    outside = [file for file, label in zip(photos.files, labels, strict=True) if not label]
    console.print_notes(scan.describe_unreadable({f: photos.errors[f] for f in outside if f in photos.errors}))
    console.print_notes(scan.describe_others({f: "in no class folder" for f in outside if f not in photos.errors}))
    return labels


def _predict(model: Path, photos: "PhotoList", labels: list[str], batch_size: int) -> pd.DataFrame:
    """The file, label, error, probabilities and ood_score of each photo in a class folder."""
    from smallset.evaluation import metrics

    classifier, folder = console.load_classifier(model), Path(photos.location.name)
    console.print_notes(photos.notes)
    labeled = [(file, label) for file, label in zip(photos.files, labels, strict=True) if label]
    paths = [str(folder / file) for file, _ in labeled]
    errors = {str(folder / file): reason for file, reason in photos.errors.items()}
    predictions = [*console.follow(classifier.predict_paths(paths, errors, batch_size=batch_size), paths)]
    sha256s = (files.sha256(Path(answer.file)) for answer in predictions if not answer.error)
    metrics.warn_if_seen(classifier.has_seen(sha256s))
    answers = [(answer.error, answer.probabilities, answer.ood_score) for answer in predictions]
    columns = ["file", "label", "error", "probabilities", "ood_score"]
    return pd.DataFrame([(*row, *answer) for row, answer in zip(labeled, answers, strict=True)], columns=columns)


def _read_predictions(
    model: Path, photos: "PhotoList", labels: list[str], output: "Location", address: str | None
) -> pd.DataFrame:
    """The same table from Parquet files, the missing ones of which are computed first."""
    from smallset.cli import shards

    existing = shards.read_manifest(output) or {}
    query = Query.for_model(model, existing.get("coverage"), existing.get("ood_rate"))
    count = shards.write(model, photos, output, query, address)["shards"]
    table = pd.concat(shards.read_shards(output, count), ignore_index=True)
    if len(table) != len(labels):
        problem = f"expected predictions for {len(labels)} photos, found {len(table)}"
        raise SmallsetError(f"{output.name}: {problem}. Name a new folder.")
    table = table.assign(file=photos.files, label=labels, error=table["error"].fillna(""))
    table = table if "ood_score" in table else table.assign(ood_score=np.nan)
    labeled = table[table["label"] != ""]
    broken = labeled[labeled["error"] != ""]
    console.print_notes(f"{file}: {error}" for file, error in zip(broken["file"], broken["error"], strict=True))
    console.print_notes([UNCHECKED])
    return labeled
