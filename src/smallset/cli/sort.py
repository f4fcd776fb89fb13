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
from smallset.cli.predict import Query, predictions_of
from smallset.datasets import names, scan
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Prediction

TABLE = "sorted.csv"
EXTRAS = ["unknown", "ood_score", "prediction_set"]

Output = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the copies go, one folder per label.")]
Coverage = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="0..1",
        help="Photos go to unsure/ when one label is not enough to be right with this probability.",
    ),
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

    unsure/ is for photos with several possible labels, and unknown/ for photos that probably show none of the classes.
    The command moves no file and replaces none: when a name is taken, the copy gets a number. sorted.csv lists all
    photos, including those that cannot be read. A second run copies only new photos.
    """
    query, classifier = Query.for_model(model, coverage, ood_rate), console.load_classifier(model)
    check_folders(folder, output, classifier.classes)
    predictions = predictions_of(classifier, [str(folder)], query, batch_size)
    counts = Counter(copy_all(predictions, output, classifier.classes))
    unread = counts.pop("", 0)
    for target, count in sorted(counts.items()):
        print(text.visible(f"{output / target}: {text.counted(count, 'photo')}"))
    raise typer.Exit(int(unread > 0))


def check_folders(folder: Path, output: Path, classes: Sequence[str]) -> None:
    """SmallsetError for an output folder among the photos, or for labels that cannot be folder names."""
    if output.resolve().is_relative_to(folder.resolve()):
        problem = f"is inside {folder}, so that copies would be sorted again"
        raise SmallsetError(f"{output}: {problem}. Name another --output.")
    if output.exists() and not output.is_dir():
        raise SmallsetError(f"{output}: expected a folder or a new name, found a file. Name another --output.")
    if unusable := [name for name in classes if not names.is_usable_label(name)]:
        problem = f"The model has labels that cannot be folder names: {scan.some([*map(repr, unusable)], text.LISTED)}"
        raise SmallsetError(f"{problem}. Use smallset predict, which writes no folders.")


def free_name(name: str, classes: Sequence[str]) -> str:
    """The name of a folder that is for no class, with underscores in front when a class is called so."""
    while names.normalize(name) in map(names.normalize, classes):
        name = f"_{name}"
    return name


def copy_all(predictions: "Iterable[Prediction]", output: Path, classes: Sequence[str]) -> Iterator[str]:
    """Copy each photo and yield the name of its folder, empty when it cannot be read; then write the table."""
    from smallset.cli.output import Formatter, format_csv, without_formula

    unsure, unknown = free_name("unsure", classes), free_name("unknown", classes)
    formatter = Formatter("csv", classes, 1, EXTRAS)
    rows = [format_csv(["file", "copy", "label", "probability", *EXTRAS, "error"])]
    output.mkdir(parents=True, exist_ok=True)
    for prediction in predictions:
        target, copy, (file, *cells) = "", "", formatter.cells(prediction)
        if not prediction.error:
            sure = prediction.label if len(prediction.prediction_set) == 1 or not prediction.ood_score >= 0 else unsure
            target, source = unknown if prediction.unknown else sure, Path(prediction.file)
            copy = place(source, output / target, source.name).relative_to(output).as_posix()
        rows.append(format_csv([file, without_formula(copy), *cells]))
        yield target
    draft = files.draft_path(output / TABLE)
    draft.write_bytes("".join(rows).encode("utf-8", "surrogateescape"))
    place(draft, output, TABLE)
    draft.unlink()


def place(source: Path, folder: Path, name: str) -> Path:
    """Copy a file into a folder under its name, or under the first numbered name that is free or has the same bytes.

    The copy appears completely or not at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, draft = folder / name, files.draft_path(folder / str(os.getpid()))
    try:
        for number in itertools.count(2):
            if path.is_file() and filecmp.cmp(source, path, shallow=False):
                break
            if not os.path.lexists(path):
                files.copy(source, draft)
                try:
                    os.link(draft, path)  # never replaces a file, which another process may have written meanwhile
                    break
                except FileExistsError:
                    files.remove(draft)
                except OSError:  # a file system without hard links, as on memory cards
                    draft.rename(path)
                    break
            path = folder / files.fit_name(Path(name).stem, f"-{number}{Path(name).suffix}")
    finally:
        files.remove(draft)
    return path
