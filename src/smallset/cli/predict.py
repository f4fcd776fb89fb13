"""`smallset predict`: print the labels of photos, or write those of any number of photos as Parquet."""

import codecs
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import typer

from smallset.cli import console, options
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier, Prediction


DRIFT = 3  # the exit code for photos that differ from earlier ones


class Query(NamedTuple):
    """What predictions contain beside labels. coverage: None for no prediction sets; ood_rate: None for no scores."""

    coverage: float | None
    ood_rate: float | None

    @classmethod
    def for_model(
        cls, model: Path, coverage: float | None = None, ood_rate: float | None = None, required: bool = False
    ) -> "Query":
        """The query for a model; SmallsetError when it asks for what the model cannot give. required: OOD scores."""
        from smallset.models import model_file
        from smallset.models.reference import OOD_RATE

        if "axes" in model_file.read_arrays(model):
            return cls(coverage, OOD_RATE if ood_rate is None else ood_rate)
        if required or coverage is not None or ood_rate is not None:
            raise SmallsetError(
                f"{model}: this model does not recognize unknown photos, because it was saved without reference "
                f"scores. Use linear_probe.keras or fine_tuned.keras of a project."
            )
        return cls(None, None)

    @property
    def columns(self) -> list[str]:
        """The names of these values."""
        sets = ["prediction_set"] if self.coverage is not None else []
        return ["unknown", "ood_score", *sets] if self.ood_rate is not None else []

    def predict(
        self, classifier: "Classifier", paths: Iterable[str], errors: Mapping[str, str], batch_size: int
    ) -> "Iterator[Prediction]":
        """Predict files as a stream. errors: paths that are not opened, and why."""
        rates = {name: rate for name, rate in self._asdict().items() if rate is not None}
        return classifier.predict_paths(paths, errors, batch_size=batch_size, **rates)


def predict(
    model: options.Model,
    photo: options.Photos,
    format: options.Format = None,  # noqa: A002 - the option's name
    top: options.Top = 1,
    coverage: options.Coverage = None,
    ood_rate: options.OodRate = None,
    fail_on_drift: options.FailOnDrift = None,
    output: options.ShardFolder = None,
    ray_address: options.RayAddress = None,
    batch_size: options.BatchSize = 32,
) -> None:
    """Print the labels of photos with their probabilities, and flag photos that show none of the classes.

    Searches folders recursively. Other files are counted on stderr. A file that cannot be read is named there, and
    its row in CSV and JSON lines contains the error. For 20 photos or more, stderr also says whether they differ
    from those that calibrated the model.

    With --output, the command writes Parquet files and prints a summary; the same command again computes only the
    files that are missing.

    Exit code: 0 success, 1 some files could not be read, 2 an error or a wrong option, 3 see --fail-on-drift.
    """
    if output is None and ray_address is not None:
        raise SmallsetError("--ray-address: a cluster writes files and prints nothing. Add --output.")
    if output is not None and (format is not None or top != 1):
        raise SmallsetError("--output: Parquet contains the probabilities of all labels. Omit --format and --top.")
    from smallset.cli.drift import Drift
    from smallset.cli.output import Formatter

    query = Query.for_model(model, coverage, ood_rate, required=fail_on_drift is not None)
    if output is not None:
        manifest = _write_shards(model, photo, output, query, ray_address)
        _exit(manifest["counts"]["unread"], manifest["drift"], fail_on_drift)
    classifier, unread = console.load_classifier(model), 0
    drift = Drift(classifier.reference, classifier.classes, query.ood_rate)
    formatter = Formatter(format, classifier.classes, top, query.columns)
    print(formatter.header(), end="", flush=True)
    for prediction in predictions_of(classifier, photo, query, batch_size, hidden=sys.stdout.isatty()):
        print(formatter.line(prediction), end="", flush=True)
        if prediction.error:
            unread += 1
        else:
            drift.add([prediction.unknown], prediction.probabilities[None])
    _exit(unread, drift.compare(), fail_on_drift)


def _exit(unread: int, differences: Mapping[str, Any], limit: float | None) -> NoReturn:
    """Print how the photos differ from earlier ones, and exit with the code for scripts."""
    from smallset.cli import drift

    if "unknown" in differences or limit is not None:  # otherwise nobody asks why nothing is compared
        console.print_notes(drift.describe(differences))
    significant = limit is not None and drift.is_significant(differences, limit)
    raise typer.Exit(DRIFT if significant else int(unread > 0))


def _write_shards(model: Path, photo: Sequence[str], output: str, query: Query, address: str | None) -> dict[str, Any]:
    """Label one folder or URL into a folder of Parquet files, print the manifest's counts, and return the manifest."""
    if len(photo) != 1 or photo[0] == "-":
        raise SmallsetError(f"--output needs one folder or URL of photos; found {' '.join(photo)}. Name one.")
    from smallset.cli import remote_files, shards

    photos = remote_files.find_photos(remote_files.open_location(photo[0]))
    manifest = shards.write(model, photos, remote_files.open_location(output), query, address)
    print(json.dumps(manifest["counts"], indent=2, ensure_ascii=False))
    return manifest


def predictions_of(
    classifier: "Classifier", names: Sequence[str], query: Query, batch_size: int, hidden: bool = False
) -> "Iterator[Prediction]":
    """Predict all photos that `find_photos` finds, with progress and notes on stderr."""
    paths, errors, notes = find_photos(names, sys.stdin.buffer if sys.stdin else [])
    console.print_notes(notes)
    return console.follow(query.predict(classifier, paths, errors, batch_size), paths, hidden)


def find_photos(names: Sequence[str], stdin: Iterable[bytes]) -> tuple[Iterable[str], dict[str, str], list[str]]:
    """Find the paths of the photos, the reasons why some cannot be read, and notes about files that are no photos.

    Each name is a file or a folder, or `-`, which means that stdin lists paths. These are read as they are needed.
    """
    parts: list[Iterable[str]] = []
    errors: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        if name == "-":
            parts.append(_read_paths(stdin))
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


def _read_paths(stdin: Iterable[bytes]) -> Iterator[str]:
    """The lines that are not empty, without the byte order mark of Windows."""
    for number, line in enumerate(stdin):
        path = (line if number else line.removeprefix(codecs.BOM_UTF8)).rstrip(b"\r\n")
        if path.strip():
            yield os.fsdecode(path)
