"""`smallset predict`: print the labels of photos, or write those of any number of photos as Parquet."""

import codecs
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from smallset.cli import console, options
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier, Prediction


def predict(
    model: options.Model,
    photo: options.Photos,
    format: options.Format = None,  # noqa: A002 - the option's name
    top: options.Top = 1,
    coverage: options.Coverage = None,
    ood_rate: options.OodRate = None,
    output: options.ShardFolder = None,
    ray_address: options.RayAddress = None,
    batch_size: options.BatchSize = 32,
) -> None:
    """Print the labels of photos with their probabilities, and flag photos that show none of the classes.

    Searches folders recursively. Other files are counted on stderr. A file that cannot be read is named there, and
    its row in CSV and JSON lines contains the error.

    With --output, the command writes Parquet files and prints a summary; the same command again computes only the
    files that are missing.
    """
    if output is not None:
        if format is not None or top != 1:
            raise SmallsetError("--output: Parquet contains the probabilities of all labels. Omit --format and --top.")
        _write_shards(model, photo, output, coverage, ood_rate, ray_address)
    if ray_address is not None:
        raise SmallsetError("--ray-address: a cluster writes files and prints nothing. Add --output.")
    from smallset.cli.output import Formatter

    classifier = console.load_classifier(model)
    extras = extra_values(classifier, coverage, ood_rate, model)
    formatter = Formatter(options.choose_format(format), classifier.classes, min(top, len(classifier.classes)), extras)
    print(formatter.header(), end="", flush=True)
    unread = 0
    for prediction in predictions_of(classifier, photo, coverage, ood_rate, batch_size, hidden=sys.stdout.isatty()):
        unread += bool(prediction.error)
        print(formatter.line(prediction), end="", flush=True)
    raise typer.Exit(int(unread > 0))


def extra_values(classifier: "Classifier", coverage: float | None, ood_rate: float | None, model: Path) -> list[str]:
    """What predictions contain beside labels; SmallsetError when the model cannot give what the options ask for."""
    if classifier.reference is None:
        if coverage is not None or ood_rate is not None:
            raise no_reference(model)
        return []
    return ["unknown", "ood_score", *["prediction_set"] * (coverage is not None)]


def no_reference(model: Path) -> SmallsetError:
    """The error for a model that was saved without reference scores."""
    return SmallsetError(
        f"{model}: this model does not recognize unknown photos, because it was saved without reference scores. Use "
        f"linear_probe.keras or fine_tuned.keras of a project."
    )


def predictions_of(
    classifier: "Classifier",
    names: Sequence[str],
    coverage: float | None,
    ood_rate: float | None,
    batch_size: int,
    hidden: bool = False,
) -> "Iterator[Prediction]":
    """Predict all photos that the names stand for, with progress and notes on stderr."""
    from smallset.models.reference import COVERAGE, OOD_RATE

    paths, errors, notes = find_photos(names, sys.stdin.buffer if sys.stdin else [])
    console.print_notes(notes)
    coverage, ood_rate = COVERAGE if coverage is None else coverage, OOD_RATE if ood_rate is None else ood_rate
    return console.follow(classifier.predict_paths(paths, errors, coverage, ood_rate, batch_size), paths, hidden)


def find_photos(names: Sequence[str], stdin: Iterable[bytes]) -> tuple[Iterable[str], dict[str, str], list[str]]:
    """The paths that names stand for, the reasons why some cannot be read, and notes about other files.

    A name is a file, a folder, or - for paths on stdin, which are read as they are needed.
    """
    parts: list[Iterable[str]] = []
    errors: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        if name == "-":
            parts.append(os.fsdecode(line) for line in _lines(stdin) if line.strip())
        elif Path(name).is_dir():
            from smallset.datasets import scan

            result = scan.scan(Path(name))
            parts.append([str(Path(name) / path) for path in result.all_photos()])
            errors |= {str(Path(name) / path): reason for path, reason in result.unreadable.items()}
            notes += [f"{name}: {line}" for line in scan.describe_others(result.others)]
        else:
            parts.append([name])
    paths = itertools.chain.from_iterable(parts)
    return paths if "-" in names else list(paths), errors, notes


def _lines(stdin: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without their ends, and without the byte order mark of Windows."""
    for number, line in enumerate(stdin):
        yield (line if number else line.removeprefix(codecs.BOM_UTF8)).rstrip(b"\r\n")


def _write_shards(
    model: Path, photo: Sequence[str], output: str, coverage: float | None, ood_rate: float | None, address: str | None
) -> None:
    """Label one folder or URL into a folder of Parquet files, print the manifest's counts, and exit."""
    if len(photo) != 1 or photo[0] == "-":
        raise SmallsetError(f"--output: expected one folder or URL of photos, found {' '.join(photo)}. Name one.")
    from smallset.cli import remote_files, shards

    photos = remote_files.find_photos(remote_files.open_location(photo[0]))
    query = shards.Query.for_model(model, coverage, ood_rate)
    counts = shards.write(model, photos, remote_files.open_location(output), query, address)["counts"]
    print(json.dumps(counts, indent=2, ensure_ascii=False))
    raise typer.Exit(int(counts["unread"] > 0))
