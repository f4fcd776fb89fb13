"""`smallset export`: write a model in a format that other programs run, and compare it with the original.

Every format takes what the .keras file takes, raw RGB pixels: the preprocessing is part of the network. To add a
format, add it to FORMATS.
"""

import importlib.util
import json
import shlex
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from smallset.cli import options
from smallset.pipeline import files, install, params, process, text
from smallset.pipeline.errors import SmallsetError

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier

TOLERANCE = 1e-3  # of the largest difference of an output; another order of sums gives 1e-6, swapped colors give 0.1
INT8_TOLERANCE = 0.1  # of the mean difference of the probabilities; int8 gives up to 0.05, constant outputs about 0.5
CHECKED = 32  # photos that are compared; with int8 all
CALIBRATION = 100  # photos that show int8 the range of each activation

Pixels = NDArray[np.float32]  # (n, size, size, 3), RGB in 0..255
Run = Callable[[Pixels], NDArray[Any]]  # pixels to outputs side by side, (n, k), in the order of their names


class Job(NamedTuple):
    """What a format writes."""

    name: str  # of the model
    classifier: "Classifier"
    network: Any  # a keras.Model with named inputs and outputs; this module imports Keras only when it exports
    precision: str
    samples: Sequence[Pixels]  # photos to calibrate int8 with; none for float32


class Format(NamedTuple):
    """How the files of a format are named, and a function that writes one and returns how it is run."""

    suffix: str
    packages: tuple[str, ...]  # of the extra `export`
    write: Callable[[Job, Path], Run]
    note: str = ""  # how to use it, with {path}
    int8: tuple[str, ...] = ()  # precisions for --int8; the first one that gives the original's probabilities is kept


def _check_options(model: Path, name: str, output: Path | None, photos: Path | None, int8: bool) -> Path:
    """The path of the new file; SmallsetError when the options do not fit together."""
    suffix, packages = FORMATS[name].suffix, FORMATS[name].packages
    if int8 and (not FORMATS[name].int8 or photos is None):
        raise SmallsetError("--int8 needs --format onnx or --format litert, and --photos with a folder of photos.")
    if missing := " and ".join(package for package in packages if importlib.util.find_spec(package) is None):
        raise install.missing_extra(f"--format {name}", missing, "export")
    path = output or model.with_name(model.stem + "_int8" * int8 + suffix)
    if path.exists():
        raise SmallsetError(f"{path}: exists already. Move it away, or name another path with --output.")
    if suffix.startswith(".") and path.suffix != suffix:
        raise SmallsetError(f"{path}: expected a path that ends in {suffix}. Name one with --output.")
    return path


def _export(
    name: str, classifier: "Classifier", kind: Format, target: Path, folder: Path | None, precision: str
) -> str:
    """Write a model and describe the file in a few lines. When it gives other outputs: SmallsetError, and no file."""
    exact = precision == "float32"
    samples = [] if exact else [pixels for pixels, _ in _load_photos(classifier, folder, CALIBRATION)]
    job = Job(name, classifier, _name_outputs(classifier, with_ood_score=exact), precision, samples)
    with files.atomic_write(target) as draft:
        try:
            with process.silence_stderr():  # the converters log pages
                run = kind.write(job, draft)
            report = _compare(job, run, folder)
        except SmallsetError as error:
            raise SmallsetError(f"{target}: {error}") from None
        except Exception as error:  # each converter has errors of its own
            raise SmallsetError(f"{target}: the model does not convert: {error}. Use another --format.") from error
    size, outputs, classes = classifier.image_size, classifier.network.output_shape[1], classifier.classes
    score = "output: ood_score, float32 (n, 1); above 1 the photo is unknown"
    lines = [
        f"{target}: {sum(part.stat().st_size for part in [target, *target.rglob('*')]) / 1e6:.1f} MB",
        f"input: pixels, float32 (n, {size}, {size}, 3), RGB in 0..255",
        f"output: probability, float32 (n, {outputs}), P({classes[1] if outputs == 1 else 'class'}); classes: "
        + ", ".join(f"{label} {name}" for label, name in enumerate(classes)),
        score if "ood_score" in job.network.output else "",
        report,
        kind.note.format(path=shlex.quote(str(target))),
    ]
    return "\n".join(filter(None, lines))


def _compare(job: Job, run: Run, folder: Path | None) -> str:
    """The difference between the original and the file, in words; SmallsetError when it is too large."""
    exact, classes, count = (
        job.precision == "float32",
        job.classifier.classes,
        job.network.output["probability"].shape[1],
    )
    reference, labels, pairs = job.classifier.reference, list[int](), []
    for pixels, name in _load_photos(job.classifier, folder, CHECKED if exact else None):
        features, probabilities = job.classifier.features_and_probabilities(pixels)
        scores = [reference.ood_score(features) / reference.threshold()] if reference and exact else []
        pairs.append((np.column_stack([*scores, probabilities[:, -count:]]), run(pixels)))
        labels.append(classes.index(name) if name in classes else -1)
    original, exported = (np.concatenate(outputs) for outputs in zip(*pairs, strict=True))
    difference = np.abs(original - exported).max(axis=1)
    value, tolerance = (difference.max(), TOLERANCE) if exact else (difference.mean(), INT8_TOLERANCE)
    report = f"{'largest' if exact else 'mean'} difference from the original: {value:.1e}"
    report += f" on {len(original)} {'photos' if folder else 'generated pictures'}"
    if not value <= tolerance:  # also for NaN
        raise SmallsetError(f"{report}, expected at most {tolerance:g}. The file was not kept.")
    rows = np.array(labels) >= 0
    if not exact and rows.any():
        answers = [outputs.argmax(axis=1) if count > 1 else outputs[:, 0] > 0.5 for outputs in (exported, original)]
        after, before = ((answer == labels)[rows].mean() for answer in answers)
        report += f"\naccuracy on {rows.sum()} photos: {after:.4f}, before int8 {before:.4f}"
    return report


def _load_photos(classifier: "Classifier", folder: Path | None, most: int | None) -> Iterator[tuple[Pixels, str]]:
    """Photos (1, size, size, 3) that decode, evenly spaced, and the name of the folder that each is in."""
    if folder is None:
        for picture in np.random.default_rng(0).uniform(0, 255, (8, 5, 5, 3)).astype(np.float32):
            yield classifier.resize(picture)[None], ""
        return
    from smallset.datasets import scan

    names, readable = scan.scan(folder).all_photos(), 0
    for row in np.unique(np.linspace(0, len(names) - 1, min(most or len(names), len(names))).astype(np.int64)):
        try:
            pixels = classifier.resize(folder / names[row])
        except SmallsetError:
            continue
        readable += 1
        yield pixels[None], Path(names[row]).parts[0]
    if not readable:
        raise SmallsetError(f"expected photos in {folder}, found none that decodes. Name another folder with --photos.")


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


def _write_onnx(job: Job, path: Path) -> Run:
    """Write ONNX with the classes as JSON in metadata_props.

    This calls tf2onnx directly: Keras's export to ONNX loses VGG16's mean color, which is a constant and no weight.
    """
    import onnx
    import onnxruntime
    import tensorflow as tf
    from tf2onnx import convert

    signature = [tf.TensorSpec(job.network.input_shape, tf.float32, name="pixels")]
    graph, _ = convert.from_keras(job.network, signature, custom_op_handlers={"Erfc": (_convert_erfc, [])})
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    if job.samples:
        from onnxruntime import quantization

        rows = iter([{"pixels": pixels} for pixels in job.samples])
        reader = SimpleNamespace(get_next=lambda: next(rows, None))
        quantization.quantize_static(graph, path, reader, per_channel=True)
        graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"classes": json.dumps(job.classifier.classes, ensure_ascii=False)})
    onnx.save(graph, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = sorted(output.name for output in session.get_outputs())
    return lambda pixels: np.hstack(session.run(names, {"pixels": pixels}))


def _convert_erfc(graph: Any, node: Any, *_: object) -> None:  # noqa: ANN401 - tf2onnx has no types
    """Convert 1 - erf, a part of GELU in ConvNeXt and ViT: ONNX only has erf."""
    ones = graph.make_const(f"{node.name}/one", np.ones((), np.float32))
    erf = graph.make_node("Erf", node.input)
    graph.remove_node(node.name)
    graph.make_node("Sub", [ones.output[0], erf.output[0]], name=node.name, outputs=node.output)


def _write_web(job: Job, path: Path) -> Run:
    """Write a folder with model.onnx and a page that runs it."""
    from smallset.web import static_page

    path.mkdir()
    static_page.write(path, job.name, job.classifier)
    return _write_onnx(job, path / "model.onnx")


def _write_litert(job: Job, path: Path) -> Run:
    """Write LiteRT (formerly TensorFlow Lite), with labels.txt in a zip at the end of the file, as is usual there."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    settings: dict[str, Any] = {"optimizations": [tf.lite.Optimize.DEFAULT]} if job.samples else {}
    if job.precision == "int8":  # LiteRT quantizes only the weights otherwise
        settings["representative_dataset"] = lambda: ([pixels] for pixels in job.samples)
    job.network.export(path, format="litert", verbose=False, **settings)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(zipfile.ZipInfo("labels.txt"), "\n".join(map(text.visible, job.classifier.classes)))
    runner = Interpreter(model_path=str(path)).get_signature_runner()
    return lambda pixels: _stack(runner(pixels=pixels))


def _write_savedmodel(job: Job, path: Path) -> Run:
    """Write a SavedModel with assets.extra/labels.txt, in a folder that TensorFlow ignores."""
    import tensorflow as tf

    job.network.export(path, format="tf_saved_model", verbose=False)
    files.write_text(path / "assets.extra" / "labels.txt", "\n".join(map(text.visible, job.classifier.classes)))
    loaded = tf.saved_model.load(str(path))
    return lambda pixels: _stack(loaded.signatures["serving_default"](pixels=tf.constant(pixels)))


def _stack(outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    return np.hstack([outputs[name] for name in sorted(outputs)])


WEB_NOTE = "Any static server can serve it. Here: python -m http.server --directory {path}, then http://localhost:8000"
FORMATS = {
    "onnx": Format(".onnx", ("onnxruntime", "tf2onnx"), _write_onnx, int8=("int8",)),
    "litert": Format(".tflite", ("ai_edge_litert",), _write_litert, int8=("int8", "int8 weights")),
    "savedmodel": Format("_savedmodel", (), _write_savedmodel),
    "web": Format("_web", ("onnxruntime", "tf2onnx"), _write_web, WEB_NOTE),
}


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
        typer.Option(exists=True, file_okay=False, help="Photos to check with. Default: generated pictures."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Store numbers in 8 bits (onnx, litert). Needs --photos.")
    ] = False,
) -> None:
    """Write a model in a format that other programs run.

    The exported model takes raw pixels and returns the same probabilities. This is checked on photos; if they differ,
    nothing is written. The format web is a folder with a page that runs the model in any browser and sends nothing
    anywhere. With --int8, the accuracy of both models is printed as well, if --photos contains a folder for each class.
    """
    kind = FORMATS[format]
    target = _check_options(model, format, output, photos, int8)
    from smallset.models.classifier import Classifier

    classifier, precisions = Classifier.load(model), kind.int8 if int8 else ("float32",)
    for precision in precisions:
        try:
            print(text.lines(_export(model.stem, classifier, kind, target, photos, precision)))
            break
        except SmallsetError as error:
            if precision == precisions[-1]:
                raise
            print(f"{text.lines(error)}\nNext attempt: 8 bits for the weights only.", file=sys.stderr)
