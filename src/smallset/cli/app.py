"""The command line, `smallset`. Results go to stdout, all else to stderr.

Each command imports what it needs: TensorFlow takes seconds, and --help, a wrong option and completion do without it.
"""

import io
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from smallset.cli import console
from smallset.pipeline import quiet, text
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    import keras

    from smallset.cli.prediction import Answer, Asked
    from smallset.models.limits import Limits

CODES = "Exit code: 0 all went well, 1 done but for files that could not be read, 2 an error or a wrong option."
CHECKED = "Exit code: 0 all is as it should be, 1 something is not, 2 an error or a wrong option."
BATCH = 32  # photos, as in the stage evaluate
NOWHERE = "--on: a cluster writes files, and prints nothing. Add --output."

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, epilog=CODES)


def made(path: Path) -> Path:
    """The path of a model file; an error tells who makes it where there is none."""
    if not path.is_file():
        raise typer.BadParameter(
            f"File '{text.visible(str(path))}' does not exist. A project makes it: dvc repro, in the project's folder."
        )
    return path


def there(name: str) -> str:
    """The name of a folder or a URL; an error where there is no such folder. What a URL names shows when it is read."""
    if "://" not in name and not Path(name).is_dir():
        kind = "is a file" if Path(name).exists() else "does not exist"
        raise typer.BadParameter(f"Directory '{text.visible(name)}' {kind}.")
    return name


Model = Annotated[Path, typer.Argument(metavar="MODEL", callback=made, help="A .keras file of a project's models/.")]
Named = Annotated[
    list[str], typer.Argument(metavar="PHOTO|FOLDER|-...", help="Photos, folders, or - for paths on stdin, one a line.")
]
Form = Annotated[
    Literal["table", "csv", "jsonl"] | None,
    typer.Option("--format", help="Default: a table on a terminal, else CSV.", show_default=False),
]
Top = Annotated[int, typer.Option(min=1, help="Labels for each photo, the likeliest first.")]
Coverage = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="List the labels that stay possible: the right one for this share of photos."),
]
Sure = Annotated[
    float, typer.Option(min=0, max=1, help="As of predict: unsure is where other than one label stays possible.")
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--unlike-rate",
        min=0,
        max=1,
        help="The share of photos of the trained kind to be called unlike all the same. Default: 0.01.",
        show_default=False,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="FOLDER|URL",
        help="Write the labels of one FOLDER or URL (s3://, gs://, …) there, as shards of Parquet.",
    ),
]
Predictions = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="FOLDER|URL",
        help="Write classes.csv and the predictions there: predictions.csv, or, for a URL, with --on and where predict "
        "has written labels, shards as it writes them.",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="With --output: a Ray cluster that computes (host:port, ray://…, auto). Default: SMALLSET_RAY.",
    ),
]
Photos = Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Photos, at any depth.")]
Labelled = Annotated[
    str, typer.Argument(metavar="FOLDER|URL", callback=there, help="One with a folder of photos for each class.")
]
Sorted = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the copies go, a folder for each label.")]
Most = Annotated[int, typer.Option(min=1, help="Photos.")]
Photo = Annotated[Path, typer.Argument(metavar="PHOTO", exists=True, dir_okay=False)]
Picture = Annotated[
    Path | None,
    typer.Option(help="A .png that does not exist yet. Default: <photo>.gradcam.png here, or with a number."),
]
Label = Annotated[str | None, typer.Option(help="The class to explain. Default: the likeliest.")]
Revision = Annotated[str, typer.Argument(metavar="REVISION", help="A commit, a branch or a tag.")]
New = Annotated[Path, typer.Argument(metavar="FOLDER", help="The new project's folder.")]
Own = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Your photos: a folder that holds one folder for each class.")
]
Table = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="Without class folders, their labels: file, label[, split][, group]."),
]
Chapter = Annotated[bool, typer.Option("--chapter", help="Train the book's models, too, which takes hours.")]
Project = Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="A project.")]
Fix = Annotated[bool, typer.Option("--fix", help="Heal what needs no run, then say what is left.")]
To = Annotated[Literal["onnx", "litert", "savedmodel", "web"], typer.Option(help="The format.")]
Exported = Annotated[Path | None, typer.Option(help="Default: beside the model.")]
Examples = Annotated[
    Path | None, typer.Option(exists=True, file_okay=False, help="Photos to check with. Default: drawn ones.")
]
Int8 = Annotated[
    bool,
    typer.Option("--int8", help="Quantise to 8 bits (onnx, litert), measured on the class folders of --photos."),
]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page, or only print its address.")]
Batch = Annotated[int, typer.Option(min=1, help="Photos at a time; moves speed and memory, no result.")]


@contextmanager
def reported() -> Iterator[None]:
    """Turn an error that has words for the user into its words on stderr and exit code 2."""
    try:
        yield
    except BrokenPipeError:  # the reader of stdout has enough; Typer ends quietly
        raise
    except (SmallsetError, OSError) as error:
        print(f"smallset: {text.lines(error)}", file=sys.stderr)
        raise typer.Exit(2) from None


@app.callback()
def prepare() -> None:
    """Label or sort photos with a model of a smallset project, see what it looked at, measure it, begin a project."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # UTF-8 into pipes everywhere; odd file names as the bytes they are
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


@app.command(epilog=CODES)
@reported()
def predict(
    model: Model,
    photo: Named,
    form: Form = None,
    top: Top = 1,
    coverage: Coverage = None,
    rate: Rate = None,
    output: Labels = None,
    on: On = None,
    batch: Batch = BATCH,
) -> None:
    """Print the labels of photos and their probabilities, and which photos are unlike all that the model knows.

    One line a photo, in the order of the photos, batch by batch. Folders are searched to the bottom; what is no photo
    there is counted on stderr. A photo that does not decode is named there, and has a row with its error in CSV and
    JSON lines. In CSV a path that a spreadsheet would take for a formula begins with ./

    With --output nothing is printed but a summary. The same command again computes the shards that are missing.
    """
    if output is not None:
        if form is not None or top != 1:
            raise SmallsetError("--output: Parquet has the probabilities of all labels. Leave --format and --top out.")
        _write(model, photo, output, _asked(model, rate, coverage), on)
    if on is not None:
        raise SmallsetError(NOWHERE)
    from smallset.cli import prediction
    from smallset.models import model_file

    (network, classes), asked = model_file.classifier(model), _asked(model, rate, coverage)
    answers = _answers(network, photo, asked.limits, batch, hidden=sys.stdout.isatty())
    top, kind, unread = min(top, len(classes)), _kind(form), 0
    print(prediction.header(kind, classes, top, asked), end="", flush=True)
    for answer in answers:
        unread += console.complain([answer])
        print(prediction.line(kind, answer, classes, top, asked), end="", flush=True)
    raise typer.Exit(int(unread > 0))


@app.command(epilog=CODES)
@reported()
def sort(
    model: Model, folder: Photos, to: Sorted, coverage: Sure = 0.95, rate: Rate = None, batch: Batch = BATCH
) -> None:
    """Copy photos into a folder for each label, unsure/ and unlike/.

    Nothing is moved, and no file replaced: a name that is taken gets a number. sorted.csv lists all photos, with the
    error of those that cannot be read. A second run copies what is new.
    """
    from smallset.cli import sorting
    from smallset.models import model_file

    (network, classes), asked = model_file.classifier(model), _asked(model, rate, coverage)
    sorting.check(folder, to, classes)
    answers = _answers(network, [str(folder)], asked.limits, batch)
    counts, unread = Counter[str](), 0
    for answer, place in sorting.sort(answers, to, classes, asked):
        unread += console.complain([answer])
        counts.update([place] if place else [])
    for place, count in sorted(counts.items()):
        print(text.visible(f"{to / place}: {text.counted(count, 'photo')}"))
    raise typer.Exit(int(unread > 0))


@app.command(epilog=CODES)
@reported()
def suggest(model: Model, folder: Photos, top: Most = 50, form: Form = None, batch: Batch = BATCH) -> None:
    """Print which photos to label next, the most useful first.

    Those between two labels and those unlike all that the model knows, each different from the ones before it.
    """
    from smallset.cli import prediction, suggesting
    from smallset.models import limits, model_file

    (network, classes), kind, ends = model_file.classifier(model), _kind(form), limits.needed(model)
    given, asked = list(_answers(network, [str(folder)], ends, batch)), prediction.Asked(ends)
    unread = console.complain(given)
    print(prediction.header(kind, classes, 1, asked), end="")
    for answer in suggesting.suggest(given, ends, top):
        print(prediction.line(kind, answer, classes, 1, asked), end="")
    raise typer.Exit(int(unread > 0))


@app.command(epilog=CODES)
@reported()
def explain(model: Model, photo: Photo, output: Picture = None, label: Label = None) -> None:
    """Show where a photo speaks for a class (Grad-CAM, or HiResCAM where that shows nothing).

    Writes a heat map over the photo, red where most speaks for the class, and prints its path, the class and its
    probability. (Selvaraju et al. 2017; Chollet 2021, section 9.4.3.)
    """
    target = output or _free(f"{photo.stem}.gradcam")
    if target.exists() or target.suffix != ".png":
        raise SmallsetError(f"{target}: expected a new file that ends in .png. Name another one with --output.")
    from smallset.images import decoding
    from smallset.models import model_file
    from smallset.reports import figures, gradcam

    pixels = decoding.decode(photo)
    figure, name, probability = gradcam.explain(*model_file.classifier(model), pixels, label)
    figures.save(figure, target)
    print(text.visible(f"{target}: {name} {probability:.4f}"))


@app.command(epilog=CODES)
@reported()
def review(browser: Browser = True) -> None:
    """Look through the photos on a page on this machine alone, and put them right.

    Labels in doubt, photos alike, unlike the others, dark or blurred, sure mistakes, and any class. What is decided
    (keep, another label, leave out) goes to corrections.csv and takes effect with the next dvc repro; no photo is
    changed. Run it in a pipeline's folder. Needs the extra web.
    """
    from smallset.web import review as page

    page.run(browser)


@app.command(epilog=CODES)
@reported()
def demo(model: Model, browser: Browser = True) -> None:
    """Try a model on a page on this machine alone.

    Drop, choose or paste photos, or take one with the camera: labels and their probabilities, the labels that stay
    possible, where the model looked, and "none of these" for a photo unlike all that it knows. Needs the extra web.
    """
    from smallset.web import demo as page

    page.run(model, browser)


@app.command(epilog=CODES)
@reported()
def evaluate(model: Model, photos: Labelled, output: Predictions = None, on: On = None, batch: Batch = BATCH) -> None:
    """Measure a model on labelled photos.

    Prints the JSON that the stage evaluate writes to metrics/<model>.json. The class folders must be among those that
    the model was trained on. Photos that do not decode are named on stderr and not counted. Of photos that the
    model was trained on a warning tells there how many there are.

    A URL (s3://, gs://, …) needs --output: the shards that predict writes there are the predictions. Those that are
    missing are computed first, and what predict has labelled is only read. Whether the model was trained on the photos
    is not checked then.
    """
    if output is None and (on is not None or "://" in photos):
        raise SmallsetError(NOWHERE if on is not None else f"{photos}: its labels need a place. Name it with --output.")
    from smallset.cli import evaluating

    found = evaluating.evaluate(model, photos, output, on, batch)
    print(json.dumps(found.measures, indent=2, allow_nan=False, ensure_ascii=False))
    if output is not None:
        evaluating.write(found.tables, output)
    raise typer.Exit(int(found.unread > 0))


@app.command(epilog=CODES)
@reported()
def since(revision: Revision = "HEAD") -> None:
    """Compare this run with an earlier one that git has.

    Prints what has become of the photos, and which models are better or worse on the test photos that both runs have.
    Run it in a pipeline's folder.
    """
    from smallset.evaluation import diff as earlier

    print(text.lines(earlier.against(Path("metrics"), revision)))


@app.command(epilog=CODES)
@reported()
def init(folder: New, photos: Own, table: Table = None, chapter: Chapter = False) -> None:
    """Begin a project of your own photos.

    Makes a git and DVC repository with a copy of the photos, the pipeline and its code, in a first commit. It times a
    few batches, and tells how long the run will take.
    """
    from smallset.cli import initialising

    print(text.lines(initialising.create(folder, photos, table, chapter)), end="")


@app.command(epilog=CODES)
@reported()
def update(folder: Project = Path()) -> None:
    """Bring this smallset's code into a project that an older one has made.

    Your own changes and the values in params.yaml stay; git diff shows all that is new, and nothing is committed.
    """
    from smallset.cli import updating

    print(text.lines(updating.update(folder)))


@app.command(epilog=CHECKED)
@reported()
def check(fix: Fix = False) -> None:
    """Compare a project with dvc.lock, byte by byte, after a crash or on a disk in doubt.

    Looks for stages that dvc.lock has lost, for damaged results and damaged objects in DVC's cache, and for caches of
    other photos. Each comes with the command that heals it. Run it in a pipeline's folder. What --fix takes away is
    moved to .dvc/tmp/broken.
    """
    from smallset.cli import checking, repair

    if fix:
        console.say(repair.heal())
    found = checking.faults()
    print(text.lines(checking.report(found)))
    raise typer.Exit(int(bool(found)))


@app.command(epilog=CODES)
@reported()
def export(model: Model, to: To, output: Exported = None, photos: Examples = None, int8: Int8 = False) -> None:
    """Write a model in the format of another runtime.

    The file takes the same raw pixels and gives the same probabilities, which is checked on photos. web is a folder
    with a page that runs the model in any browser, from any static server, and sends nothing anywhere.
    """
    with quiet.nowhere():  # the converters log pages
        from smallset.cli import exporting

        text = exporting.export(model, to, output, photos, int8)
    print(text.lines(text))


def _answers(
    network: "keras.Model", photos: Sequence[str], limits: "Limits | None", batch: int, hidden: bool = False
) -> Iterable["Answer"]:
    """What a network says of all photos that these names stand for; on stderr a bar, and what is no photo."""
    from smallset.cli import prediction

    paths, reasons, said = prediction.find_all(photos, sys.stdin.buffer)
    console.say(said)
    return console.followed(prediction.answers(network, paths, batch, reasons, limits), paths, hidden)


def _write(model: Path, photo: list[str], output: str, asked: "Asked", on: str | None) -> None:
    """Label one folder or URL into a folder of shards, print the manifest's counts, and end."""
    if len(photo) != 1 or photo[0] == "-":
        raise SmallsetError(f"--output: expected one folder or URL of photos, found {' '.join(photo)}. Name one.")
    from smallset.cli import remote_files, shards

    photos = remote_files.find(remote_files.place(photo[0]))
    counts = shards.label(model, photos, remote_files.place(output), asked, on)[shards.DONE]
    print(json.dumps(counts, indent=2, ensure_ascii=False))
    raise typer.Exit(int(counts["unread"] > 0))


def _free(stem: str) -> Path:
    """A .png that does not exist yet: cat/1.jpg and dog/1.jpg have one each."""
    tried = (Path(f"{stem}{number}.png") for number in itertools.chain([""], map("-{}".format, itertools.count(2))))
    return next(path for path in tried if not path.exists())


def _kind(form: str | None) -> str:
    """The form of the answers where none is given: a table for people, CSV for programs."""
    return form or ("table" if sys.stdout.isatty() else "csv")


def _asked(model: Path, rate: float | None, coverage: float | None) -> "Asked":
    """What a model file is to tell beside the labels; an error where it is asked for what it has not."""
    from smallset.cli.prediction import Asked
    from smallset.models import limits

    found = limits.load(model) if rate is None and coverage is None else limits.needed(model)
    return Asked(found, limits.RATE if rate is None else rate, coverage)
