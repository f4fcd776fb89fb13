"""`smallset sort`: copy photos into a folder per label. It moves nothing and replaces no file."""

import filecmp
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smallset.cli import console, options
from smallset.cli.predict import extra_values, predictions_of
from smallset.datasets import names
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Prediction

TABLE = "sorted.csv"
COLUMNS = ["file", "copy", "label", "probability", "unknown", "ood_score", "prediction_set", "error"]

Output = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the copies go, one folder per label.")]
Coverage = Annotated[
    float, typer.Option(min=0, max=1, help="Coverage of the prediction sets: a set with one label is sure.")
]


def sort(
    model: options.Model,
    folder: options.Folder,
    output: Output,
    coverage: Coverage = 0.95,
    ood_rate: options.OodRate = None,
    batch_size: options.BatchSize = 32,
) -> None:
    """Copy photos into a folder for each label, and into unsure/ and unknown/.

    Nothing is moved, and no file is replaced: a name that exists gets a number. sorted.csv lists all photos, also
    those that cannot be read. A second run copies only what is new.
    """
    classifier = console.load_classifier(model)
    extra_values(classifier, coverage, ood_rate, model)
    check_folders(folder, output, classifier.classes)
    counts, unread = Counter[str](), 0
    predictions = predictions_of(classifier, [str(folder)], coverage, ood_rate, batch_size)
    for prediction, target in copy_all(predictions, output, classifier.classes):
        unread += bool(prediction.error)
        counts.update([target] if target else [])
    for target, count in sorted(counts.items()):
        print(text.visible(f"{output / target}: {text.counted(count, 'photo')}"))
    raise typer.Exit(int(unread > 0))


def check_folders(folder: Path, output: Path, classes: Sequence[str]) -> None:
    """SmallsetError for an output folder among the photos, or for labels that cannot be folder names."""
    if output.resolve().is_relative_to(folder.resolve()):
        raise SmallsetError(
            f"{output}: is inside {folder}, so that copies would be sorted again. Name another --output."
        )
    if output.exists() and not output.is_dir():
        raise SmallsetError(f"{output}: expected a folder or a new name, found a file. Name another --output.")
    if unusable := [name for name in classes if not names.is_usable_label(name)]:
        raise SmallsetError(f"The model has labels that cannot be folder names: {', '.join(map(repr, unusable))}.")


def special_folders(classes: Sequence[str]) -> tuple[str, str]:
    """The folders for unsure and unknown photos, with underscores in front when a class has such a name."""
    taken = {names.normalize(name) for name in classes}

    def free(name: str) -> str:
        return free(f"_{name}") if names.normalize(name) in taken else name

    return free("unsure"), free("unknown")


def copy_all(
    predictions: "Iterable[Prediction]", output: Path, classes: Sequence[str]
) -> "Iterator[tuple[Prediction, str]]":
    """Copy each photo and yield its prediction and folder, empty when it cannot be read; then write the table."""
    from smallset.cli.output import format_csv, to_cell, to_plain, without_formula

    unsure, unknown = special_folders(classes)
    rows = [format_csv(COLUMNS)]
    output.mkdir(parents=True, exist_ok=True)
    for prediction in predictions:
        target, copy = "", ""
        if not prediction.error:
            sure = prediction.label if len(prediction.prediction_set) == 1 or not prediction.ood_score >= 0 else unsure
            target = unknown if prediction.unknown else sure
            source = Path(prediction.file)
            copy = place(source, output / target, source.name).relative_to(output).as_posix()
        paths = [without_formula(prediction.file), without_formula(copy)]
        values = [] if prediction.error else [getattr(prediction, column) for column in COLUMNS[2:-1]]
        cells = [to_cell(to_plain(value)) for value in values] or [""] * 5
        rows.append(format_csv([*paths, *cells, prediction.error]))
        yield prediction, target
    draft = files.draft_path(output / TABLE)
    draft.write_bytes("".join(rows).encode("utf-8", "surrogateescape"))
    place(draft, output, TABLE)
    draft.unlink()


def place(source: Path, folder: Path, name: str) -> Path:
    """Copy a file into a folder under its name, or under the first numbered name that is free or has the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    for number in itertools.count(2):
        if path.is_file() and filecmp.cmp(source, path, shallow=False):
            break
        if not os.path.lexists(path) and copy_to_free_name(source, path):
            break
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path


def copy_to_free_name(source: Path, path: Path) -> bool:
    """Copy a file completely or not at all; False when another process has taken the name meanwhile."""
    draft = files.draft_path(path.with_name(str(os.getpid())))
    try:
        files.copy(source, draft)
        try:
            os.link(draft, path)  # never replaces a file
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links, as on memory cards
            draft.rename(path)
    finally:
        files.remove(draft)
    return True
