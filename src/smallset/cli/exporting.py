"""Saved models for other runtimes: ONNX, LiteRT, SavedModel and a web page, each run and compared before it stays.

All take what the .keras file takes, raw RGB pixels: the preprocessing is inside. The packages of the extra `export` are
imported where they are needed: a SavedModel does without them.
"""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.cli import prediction
from smallset.datasets import lists, scan, synthetic
from smallset.models import convnets, limits, model_file
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError
from smallset.web import onnxruntime_web, static_page

if TYPE_CHECKING:
    from tf2onnx.graph import Graph, Node

TOLERANCE = 1e-3  # of a probability; float32 in another order of sums gives about 1e-6, swapped colours 0.1
BATCH = 16  # photos at a time; moves memory and speed, no result
CHECKED = 32  # photos on which Keras and the exported model are compared
CALIBRATION = 100  # photos that show int8 the range of each activation
ENDINGS = {"onnx": ".onnx", "litert": ".tflite", "savedmodel": "_savedmodel", "web": "_web"}

Format = Literal["onnx", "litert", "savedmodel", "web"]
Pixels = NDArray[np.float32]  # (n, size, size, 3), RGB in 0..255
Run = Callable[[Pixels], NDArray[np.float32]]  # pixels to what a model gives: (n, 1) or (n, classes), and unlikeness


def export(model: Path, to: Format, output: Path | None, folder: Path | None, int8: bool) -> str:
    """Write a .keras file in another format and say what came of it; SmallsetError, and no file, unless both agree.

    output: default beside the model. folder: of photos to compare on, with int8 of class folders; default drawn ones.
    """
    target = _target(model, to, output, int8)
    if int8 and (to not in ("onnx", "litert") or folder is None):
        raise SmallsetError("--int8 needs --to onnx or --to litert, and --photos with a folder of photos a class.")
    whole, classes = model_file.classifier(model)
    known = None if int8 else limits.load(model)
    network = named(whole, known)
    size = network.input_shape[1]
    labelled = prediction.labelled(folder, classes) if int8 and folder else None
    examples = pixels(folder, size, CALIBRATION if int8 else CHECKED)
    with files.atomic_write(target) as draft:
        original, exported = from_keras(whole, known), _convert(network, classes, to, draft, examples, int8)
        difference = largest_difference(original, exported, examples)
        if not int8:
            _check(difference, model, target, len(examples))
        accuracy = f"\n{accuracies(original, exported, *labelled[:2], size)}" if labelled else ""
        if to == "web":
            static_page.write(draft, model.stem, classes, size, known)
    kind = "drawn pictures" if folder is None else "photos"
    compared = f"largest difference from Keras: {difference:.1e} on {len(examples)} {kind}"
    about = static_page.description(target, known) if to == "web" else _description(target, whole, classes, known)
    return f"{about}\n{compared}{accuracy}"


def _check(difference: float, model: Path, target: Path, count: int) -> None:
    """SmallsetError unless both agree on `count` photos."""
    if not difference <= TOLERANCE:
        raise SmallsetError(
            f"{target}: expected the probabilities of {model} within {TOLERANCE:g}, found a difference of "
            f"{difference:.2g} on {count} photos. Nothing was written. Choose another format with --to."
        )


def _target(model: Path, to: Format, output: Path | None, int8: bool) -> Path:
    """Where the export goes: somewhere new, with the ending that its runtimes look for."""
    path = output or model.with_name(f"{model.stem}{'_int8' if int8 else ''}{ENDINGS[to]}")
    if path.exists():
        raise SmallsetError(f"{path}: exists already. Move it away, or name another path with --output.")
    if ENDINGS[to].startswith(".") and path.suffix != ENDINGS[to]:
        raise SmallsetError(f"{path}: expected a path that ends in {ENDINGS[to]}. Name one with --output.")
    return path


def _description(path: Path, model: keras.Model, classes: Sequence[str], known: limits.Limits | None) -> str:
    """What is in the file and what it takes and gives, as three lines; of a model with limits, as four."""
    size, outputs = model.input_shape[1], model.output_shape[1]
    order = ", ".join(f"{label} {name}" for label, name in enumerate(classes))
    told = (
        f"{path}: {static_page.megabytes(path)}\n"
        f"input: pixels, float32 (n, {size}, {size}, 3), RGB in 0..255\n"
        f"output: probability, float32 (n, {outputs}), P({classes[1] if outputs == 1 else 'class'}); classes: {order}"
    )
    more = "output: unlikeness, float32 (n, 1); above 1 a photo is unlike those that the model was trained on"
    return f"{told}\n{more}" if known else told


def pixels(folder: Path | None, size: int, count: int) -> Pixels:
    """Up to `count` photos of a folder and of its folders, evenly spaced, that decode; without it 8 drawn ones."""
    if folder is None:
        faces = enumerate([synthetic.cat, synthetic.dog] * 4)
        drawn = [synthetic.picture(face, size, np.random.default_rng(number)) for number, face in faces]
        return np.stack([np.asarray(picture, np.float32) for picture in drawn])
    found = scan.walk(folder)
    if not found.photos:
        raise found.none()
    paths = [str(folder / path) for path in found.photos]
    rows = np.unique(np.linspace(0, len(paths) - 1, count).astype(np.int64))
    batches = prediction.load([paths[row] for row in rows], size, BATCH)
    decoded = np.concatenate([values.numpy()[errors.numpy() == b""] for _, values, errors in batches])
    if not len(decoded):
        raise SmallsetError(f"{folder}: expected photos, found {len(rows)} that do not decode. Add photos.")
    return decoded


def named(model: keras.Model, known: limits.Limits | None = None) -> keras.Model:
    """The model with an input `pixels` and an output `probability`: their names in every format.

    With limits it has an output `unlikeness`, (n, 1), too, in units of the one above which a photo is called unlike.
    """
    inputs = keras.Input(model.input_shape[1:], name="pixels")
    if known is None:
        outputs = {"probability": keras.layers.Identity(name="probability")(model(inputs))}
        return keras.Model(inputs, outputs, name="smallset")
    given, count = limits.with_features(model)(inputs), model.output_shape[1]
    given = {"probability": given[:, :count], "unlikeness": unlikeness(given[:, count:], known)}
    outputs = {name: keras.layers.Identity(name=name)(value) for name, value in given.items()}
    return keras.Model(inputs, outputs, name="smallset")


def unlikeness(features: keras.KerasTensor, known: limits.Limits) -> keras.KerasTensor:
    """`limits.Known.unlikeness` as a part of a network: features (n, d) to (n, 1); 1 is where the usual ends."""
    length = keras.ops.sqrt(keras.ops.sum(keras.ops.square(features), axis=1, keepdims=True))
    standard = (features / keras.ops.maximum(length, limits.TINY) - known.mean) / known.scale
    outside = standard - keras.ops.matmul(keras.ops.matmul(standard, known.axes.T), known.axes)
    return keras.ops.sqrt(keras.ops.mean(keras.ops.square(outside), axis=1, keepdims=True)) / known.end()


def _convert(network: keras.Model, classes: Sequence[str], to: Format, path: Path, examples: Pixels, int8: bool) -> Run:
    """Write the model to `path`, with int8 calibrated on the examples, and return what runs that file."""
    ways = {
        "onnx": (to_onnx, from_onnx),
        "litert": (to_litert, from_litert),
        "savedmodel": (to_saved, from_saved),
        "web": (to_web, from_web),
    }
    write, read = ways[to]
    try:
        write(network, classes, path, examples if int8 else None)
        run = read(path)
        run(examples[:1])  # an operation that the runtime lacks shows here at the latest
    except SmallsetError:
        raise
    except ModuleNotFoundError as error:
        raise SmallsetError(f'--to {to} needs {error.name}, not installed. Run: pip install -e ".[export]"') from None
    except Exception as error:  # each converter has kinds of its own
        raise SmallsetError(f"--to {to}: the model does not convert: {error}. Choose another format.") from error
    return run


def to_onnx(network: keras.Model, classes: Sequence[str], path: Path, calibration: Pixels | None) -> None:
    """ONNX, with the classes as JSON in its metadata_props.

    tf2onnx itself, not Keras's export to ONNX: that leaves VGG16's mean colour out, a constant and no weight.
    """
    import onnx
    from tf2onnx import convert

    taken = [tf.TensorSpec(network.input_shape, tf.float32, name="pixels")]
    graph, _ = convert.from_keras(network, taken, custom_op_handlers={"Erfc": (_erfc, [])})
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    if calibration is not None:
        from onnxruntime import quantization

        rows = iter([{"pixels": row[None]} for row in calibration])
        reader = SimpleNamespace(get_next=lambda: next(rows, None))
        quantization.quantize_static(graph, path, reader, per_channel=True)
        graph = onnx.load(path)
    onnx.helper.set_model_props(graph, {"classes": json.dumps(classes, ensure_ascii=False)})
    onnx.save(graph, path)


def _erfc(graph: "Graph", node: "Node", *_: object) -> None:
    """GELU's 1 - erf, as in ConvNeXts and ViTs: ONNX has erf alone."""
    one = graph.make_const(f"{node.name}/one", np.ones((), np.float32))
    erf = graph.make_node("Erf", node.input)
    graph.remove_node(node.name)
    graph.make_node("Sub", [one.output[0], erf.output[0]], name=node.name, outputs=node.output)


def to_web(network: keras.Model, classes: Sequence[str], path: Path, _: Pixels | None) -> None:
    """A folder with model.onnx, for a page; what that takes besides is there, or an error says how to get it."""
    onnxruntime_web.folder()
    path.mkdir()
    to_onnx(network, classes, path / "model.onnx", None)


def to_litert(network: keras.Model, classes: Sequence[str], path: Path, calibration: Pixels | None) -> None:
    """LiteRT, formerly TensorFlow Lite, with labels.txt in a zip at its end, as its metadata writers put it there."""
    int8: dict[str, object] = {}
    if calibration is not None:
        int8["optimizations"] = [tf.lite.Optimize.DEFAULT]
        int8["representative_dataset"] = lambda: ([row[None]] for row in calibration)
    network.export(path, format="litert", verbose=False, **int8)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(zipfile.ZipInfo("labels.txt", model_file.EPOCH), lines(classes))


def to_saved(network: keras.Model, classes: Sequence[str], path: Path, _: Pixels | None) -> None:
    """SavedModel, with assets.extra/labels.txt, a folder that TensorFlow leaves to its users."""
    network.export(path, format="tf_saved_model", verbose=False)
    files.write_text(path / "assets.extra" / "labels.txt", lines(classes))


def lines(classes: Sequence[str]) -> str:
    """A line for each class, in their order, whatever it is called."""
    return "\n".join(map(text.visible, classes))


def from_keras(model: keras.Model, known: limits.Limits | None = None) -> Run:
    """Run the model itself; with limits unlikeness is the last column."""
    if known is None:
        return lambda pixels: model(pixels, training=False).numpy()
    both, count = limits.with_features(model), model.output_shape[1]

    def run(pixels: Pixels) -> NDArray[np.float32]:
        given = both(pixels, training=False).numpy()
        return np.hstack([given[:, :count], known.unlikeness(given[:, count:])[:, None] / known.end()])

    return run


def from_onnx(path: Path) -> Run:
    """Run a .onnx file with ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = [one.name for one in session.get_outputs()]
    return lambda pixels: in_a_row(dict(zip(given, session.run(given, {"pixels": pixels}), strict=True)))


def from_web(path: Path) -> Run:
    """Run the model of a page with ONNX Runtime, of which the browser's is another build."""
    return from_onnx(path / "model.onnx")


def from_litert(path: Path) -> Run:
    """Run a .tflite file with LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(model_path=str(path)).get_signature_runner()
    return lambda pixels: in_a_row(signature(pixels=pixels))


def from_saved(path: Path) -> Run:
    """Run a SavedModel with TensorFlow, without Keras."""
    loaded = tf.saved_model.load(str(path))
    return lambda pixels: in_a_row(loaded.signatures["serving_default"](pixels=tf.constant(pixels)))


def in_a_row(given: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """All outputs side by side: probability, and unlikeness where there is one."""
    return np.hstack([given[name] for name in sorted(given)])


def largest_difference(original: Run, exported: Run, examples: Pixels) -> float:
    """The largest absolute difference of a probability; NaN if either gives one."""
    batches = np.split(examples, range(BATCH, len(examples), BATCH))
    return float(np.max([np.abs(original(batch) - exported(batch)).max() for batch in batches]))


def accuracies(original: Run, exported: Run, found: lists.Photos, reasons: Mapping[str, str], size: int) -> str:
    """What both models get right of the photos that decode, in words."""
    right, count, start = np.zeros(2, int), 0, 0
    for _, values, errors in prediction.load(found.paths(), size, BATCH, reasons):
        labels, decoded = found.labels[start : start + len(errors)], errors.numpy() == b""
        outputs = [convnets.per_class(run(values.numpy())) for run in (original, exported)]
        right += [int((decoded & (output.argmax(1) == labels)).sum()) for output in outputs]
        count, start = count + int(decoded.sum()), start + len(errors)
    before, after = right / count
    return f"accuracy on {count} photos: {after:.4f}, before int8 {before:.4f}"
