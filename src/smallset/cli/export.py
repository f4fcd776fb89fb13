"""`smallset export`: write a model in a format that other programs run, and compare it with the original."""

import importlib.util
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from smallset.cli import console, options
from smallset.cli.export_formats import FLOAT16, FLOAT32, FORMATS, Format, Job, Pixels, Run
from smallset.datasets import scan
from smallset.pipeline import files, install, params, process, text
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier, Photo

# Of the largest difference of an output. Another order of sums gives 1e-6, swapped colors 0.1; float16 up to 0.003.
LARGEST = {FLOAT32: 1e-3, FLOAT16: 1e-2}
MEAN = 0.05  # of the mean difference of the probabilities, for int8
CONSTANT = 0.1  # of the difference that a constant answer has: no file may have more than this share
CHANGED = 0.05  # the share of photos that int8 may give another label; one photo is always allowed
CHECKED, CHECKED_INT8 = 32, 500  # photos that are compared, at most
CALIBRATION = 100  # photos that show int8 the range of each activation


class Photos(NamedTuple):
    """What an export is compared on."""

    name: str
    photos: "Sequence[Photo]"
    labels: Sequence[str]  # "" for an unknown one
    calibration: "Sequence[Photo]"  # for int8; none if the photos are generated


class Result(NamedTuple):
    """How the outputs of a file differ from the original."""

    report: str
    difference: float
    problem: str  # why the file is not kept


def _check_format(name: str) -> str:
    if name not in FORMATS:
        raise typer.BadParameter(
            f"Expected one of {', '.join(FORMATS)}, found {name!r}.{params.suggest(name, FORMATS)}"
        )
    return name


def export(
    model: options.Model,
    format: Annotated[str, typer.Option(callback=_check_format, metavar="|".join(FORMATS))],  # noqa: A002 - the option's name
    output: Annotated[Path | None, typer.Option(help="A new path. Default: next to the model.")] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Photos to check with. Default: the project's validation photos, or else generated pictures.",
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Store numbers in 8 bits (onnx, litert). Needs photos.")] = False,
) -> None:
    """Write a model in a format that other programs run.

    The exported model takes raw pixels and returns the same probabilities. This is checked on photos; if they differ,
    nothing is written. The format web is a folder with a page that runs the model in any browser and sends nothing
    anywhere. With --int8, several ways to round are tried, and the best one is kept if it loses little.
    """
    kind = FORMATS[format]
    target = _check_options(model, format, output, int8)
    process.import_tensorflow()
    from smallset.models.classifier import Classifier

    classifier = Classifier.load(model)
    compared = _choose_photos(model, classifier, photos)
    if int8 and not compared.calibration:
        raise SmallsetError("--int8 needs photos. Name a folder of photos with --photos.")
    samples = [pixels for pixels, _ in _load(classifier, compared.calibration, CALIBRATION)] if int8 else []
    network = _name_outputs(classifier, with_ood_score=not int8)
    job, notes = Job(model.stem, classifier, network, kind.precision, samples), []
    for group in kind.int8 if int8 else [(kind.precision,)]:
        best, results = _write_best(kind, job, group, compared, target)
        notes += [f"- {each}: {result.report}{result.problem}" for each, result in results.items()]
        if best:
            console.print_notes(["Compared:", *notes] if int8 else [])
            print(text.lines(_describe(job, best, model, target, results[best].report, kind.note)))
            return
    raise SmallsetError("\n".join([f"{target}: not written, because it differs too much from the original.", *notes]))


def _check_options(model: Path, name: str, output: Path | None, int8: bool) -> Path:
    """The path of the new file; SmallsetError when the options do not fit together."""
    suffix, packages = FORMATS[name].suffix, FORMATS[name].packages
    if int8 and not FORMATS[name].int8:
        raise SmallsetError("--int8 needs --format onnx or --format litert.")
    if missing := " and ".join(package for package in packages if importlib.util.find_spec(package) is None):
        raise install.missing_extra(f"--format {name}", missing, "export")
    path = output or model.with_name(files.fit_name(model.stem, "_int8" * int8 + suffix))
    if path.exists():
        raise SmallsetError(f"{path}: exists already. Move it away, or name another path with --output.")
    if suffix.startswith(".") and path.suffix != suffix:
        raise SmallsetError(f"{path}: expected a path that ends in {suffix}. Name one with --output.")
    return path


def _choose_photos(model: Path, classifier: "Classifier", folder: Path | None) -> Photos:
    """The photos in a folder, the validation photos of the model's project, or generated pictures.

    Test photos of a project are left out, because a comparison can select a precision.
    """
    from smallset.datasets.dataset import TABLE, Dataset

    if folder is not None:
        names = scan.scan(folder).all_photos()
        paths = [folder / name for name in names]
        return Photos("photos", paths, [Path(name).parts[0] for name in names], paths)
    project = model.absolute().parent.parent
    if (project / TABLE).is_file():
        dataset = Dataset.read(project / TABLE, project)
        validation, train = dataset.validation.paths, dataset.train.paths
        if validation and dataset.classes == classifier.classes and all(map(Path.is_file, validation + train)):
            return Photos("validation photos", validation, dataset.validation.table["label"].tolist(), train)
    pictures = [*_draw_pictures()]
    return Photos("generated pictures", pictures, [""] * len(pictures), [])


def _draw_pictures() -> Iterator[NDArray[np.uint8]]:
    """Drawings, plain colors, and noise of several sizes: pictures that a network tells apart."""
    from smallset.datasets import synthetic

    random = np.random.default_rng(0)
    for side in (1, 4, 9, 30) * (CHECKED // 8):
        yield random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        yield np.asarray(synthetic.picture(synthetic.cat if side % 2 else synthetic.dog, 160, random))


def _load(
    classifier: "Classifier", photos: "Sequence[Photo]", most: int, labels: Sequence[str] | None = None
) -> Iterator[tuple[Pixels, str]]:
    """Photos (1, size, size, 3) that decode, evenly spaced, and their labels."""
    readable = 0
    for row in np.unique(np.linspace(0, len(photos) - 1, min(most, len(photos))).astype(np.int64)):
        try:
            pixels = classifier.resize(photos[row])
        except SmallsetError:
            continue
        readable += 1
        yield pixels[None], labels[row] if labels else ""
    if not readable:
        raise SmallsetError("Expected photos, found none that decodes. Name another folder with --photos.")


def _name_outputs(classifier: "Classifier", with_ood_score: bool) -> Any:  # noqa: ANN401 - a keras.Model
    """The network with an input `pixels`, an output `probability`, and `ood_score`, (n, 1), for a known reference.

    The score is that of `Reference.ood_score`, divided by the threshold.
    """
    import keras

    from smallset.models.classifier import with_features
    from smallset.models.reference import TINY

    pixels, reference = keras.Input(classifier.network.input_shape[1:], name="pixels"), classifier.reference
    values, count, ops = with_features(classifier.network)(pixels), classifier.network.output_shape[1], keras.ops
    outputs = {"probability": values[:, :count]}
    if reference and with_ood_score:
        length = ops.sqrt(ops.sum(ops.square(values[:, count:]), axis=1, keepdims=True))
        standard = (values[:, count:] / ops.maximum(length, TINY) - reference.mean) / reference.scale
        outside = standard - ops.matmul(ops.matmul(standard, reference.axes.T), reference.axes)
        outputs["ood_score"] = ops.sqrt(ops.mean(ops.square(outside), axis=1, keepdims=True)) / reference.threshold()
    named = {name: keras.layers.Identity(name=name)(value) for name, value in outputs.items()}
    return keras.Model(pixels, named, name="smallset")


def _write_best(
    kind: Format, job: Job, precisions: Sequence[str], photos: Photos, target: Path
) -> tuple[str, dict[str, Result]]:
    """Write a file for each precision, and keep the one that is closest to the original; "" if all lose too much."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {precision: Path(folder, str(number), target.name) for number, precision in enumerate(precisions)}
        runs = {each: _write(kind, job._replace(precision=each), path, target) for each, path in paths.items()}
        results = _compare(job, runs, photos)
        good = [precision for precision in precisions if not results[precision].problem]
        best = min(good, key=lambda precision: results[precision].difference, default="")
        if best:
            with files.atomic_write(target) as draft:
                shutil.move(paths[best], draft)
    return best, results


def _write(kind: Format, job: Job, path: Path, target: Path) -> Run:
    """Write a file for one precision, and return how to run it."""
    path.parent.mkdir()
    try:
        with process.silence_stderr():  # the converters log pages
            return kind.write(job, path)
    except SmallsetError as error:
        raise SmallsetError(f"{target}: {error}") from None
    except Exception as error:  # each converter has errors of its own
        raise SmallsetError(f"{target}: the model does not convert: {error}. Use another --format.") from error


def _compare(job: Job, runs: Mapping[str, Run], photos: Photos) -> dict[str, Result]:
    """Run the original and the files, by precision, on the photos."""
    reference, outputs = job.classifier.reference, dict[str, list[NDArray[Any]]]({name: [] for name in ("", *runs)})
    labels, most = list[str](), CHECKED_INT8 if job.samples else CHECKED
    for pixels, label in _load(job.classifier, photos.photos, most, photos.labels):
        features, probabilities = job.classifier.features_and_probabilities(pixels)
        scores = [reference.ood_score(features) / reference.threshold()] if reference and not job.samples else []
        outputs[""].append(np.column_stack([*scores, probabilities[:, -_count_outputs(job) :]]))
        for name, run in runs.items():
            outputs[name].append(run(pixels))
        labels.append(label)
    original, *exported = map(np.concatenate, outputs.values())
    return {
        precision: _judge(job, precision, original, rows, labels, photos.name)
        for precision, rows in zip(runs, exported, strict=True)
    }


def _judge(
    job: Job, precision: str, original: NDArray[Any], exported: NDArray[Any], labels: Sequence[str], what: str
) -> Result:
    """Compare the outputs (n, k) for the photos, whose labels may be unknown."""
    name, statistic, limit = ("mean", np.mean, MEAN) if job.samples else ("largest", np.max, LARGEST[precision])
    probabilities = original[:, -_count_outputs(job) :]
    pairs = (original, exported), (probabilities, probabilities.mean(axis=0))
    difference, constant = (float(statistic(np.abs(left - right).max(axis=1))) for left, right in pairs)
    (before, after), tolerance = (_label(job, rows) for rows in (original, exported)), min(limit, CONSTANT * constant)
    same, n = int((before == after).sum()), len(original)
    report = f"{name} difference from the original: {difference:.1e}; the same label for {same} of {n} {what}"
    if (labeled := np.isin(labels, job.classifier.classes)).any():
        accuracies = [(answers == labels)[labeled].mean() for answers in (after, before)]
        report += "; accuracy {:.3f}, original {:.3f}".format(*accuracies)
    if not difference <= tolerance:  # also for NaN
        hint = f", because a constant answer has {constant:.1e}" if tolerance < limit else ""
        return Result(report, difference, f". Expected a difference of at most {tolerance:.1e}{hint}.")
    if job.samples and n - same > max(1, CHANGED * n):
        return Result(report, difference, f". Expected the same label for at least {100 * (1 - CHANGED):.0f} %.")
    return Result(report, difference, "")


def _count_outputs(job: Job) -> int:
    return int(job.network.output["probability"].shape[1])


def _label(job: Job, outputs: NDArray[Any]) -> NDArray[np.str_]:
    """The most probable class of each row of outputs (n, k), which end with the probabilities."""
    probabilities = outputs[:, -_count_outputs(job) :]
    numbers = probabilities.argmax(axis=1) if probabilities.shape[1] > 1 else (probabilities[:, 0] > 0.5).astype(int)
    return np.array(job.classifier.classes)[numbers]


def _describe(job: Job, precision: str, model: Path, target: Path, report: str, note: str) -> str:
    size, outputs, classes = job.classifier.image_size, _count_outputs(job), job.classifier.classes
    total = sum(part.stat().st_size for part in [target, *target.rglob("*")])
    lines = [
        f"{target}: {total / 1e6:.1f} MB, {precision} ({model.name}: {model.stat().st_size / 1e6:.1f} MB)",
        f"input: pixels, float32 (n, {size}, {size}, 3), RGB in 0..255",
        f"output: probability, float32 (n, {outputs}), P({classes[1] if outputs == 1 else 'class'}); classes: "
        + scan.some([f"{label} {name}" for label, name in enumerate(classes)], text.LISTED),
        "output: ood_score, float32 (n, 1); above 1 the photo is unknown" if "ood_score" in job.network.output else "",
        report,
        note.format(path=shlex.quote(str(target))),
    ]
    return "\n".join(filter(None, lines))
