"""The formats of `smallset export`. Every format takes what the .keras file takes, raw RGB pixels.

To add a format, add it to FORMATS.
"""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline import files, text

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier

FLOAT32, FLOAT16 = "float32", "float16 weights"
INT8_ONNX, INT8_LITERT, INT8_WEIGHTS = ("int8 per channel", "int8 per tensor"), ("int8",), "int8 weights"
ENCODED = "encoded_photos"  # a signature of a SavedModel
LARGE = 1000  # values of a tensor: smaller ones stay in float32

Pixels = NDArray[np.float32]  # (n, size, size, 3), RGB in 0..255
Run = Callable[[Pixels], NDArray[Any]]  # pixels to outputs side by side, (n, k), in the order of their names


class Job(NamedTuple):
    """What a format writes."""

    name: str  # of the model
    classifier: "Classifier"
    network: Any  # a keras.Model with named inputs and outputs; this module imports Keras only when it exports
    precision: str
    samples: Sequence[Pixels]  # photos that show int8 the range of each activation; none for float32 and float16


class Format(NamedTuple):
    """How the files of a format are named, and a function that writes one and returns how it is run."""

    suffix: str
    packages: tuple[str, ...]  # of the extra `export`
    write: Callable[[Job, Path], Run]
    note: str = ""  # how to use it, with {path}
    precision: str = FLOAT32
    # Precisions for --int8. The best of a group is kept; the next group is tried if it loses too much.
    int8: tuple[tuple[str, ...], ...] = ()


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
    if job.precision in INT8_ONNX:
        from onnxruntime import quantization

        rows = iter([{"pixels": pixels} for pixels in job.samples])
        reader = SimpleNamespace(get_next=lambda: next(rows, None))
        per_channel = job.precision == INT8_ONNX[0]
        quantization.quantize_static(graph, path, reader, per_channel=per_channel, op_types_to_quantize=["Conv"])
        graph = onnx.load(path)
    elif job.precision in (FLOAT16, INT8_WEIGHTS):
        _shrink_weights(graph.graph, job.precision)
    onnx.helper.set_model_props(graph, {"classes": json.dumps(job.classifier.classes, ensure_ascii=False)})
    onnx.save(graph, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = sorted(output.name for output in session.get_outputs())
    return lambda pixels: np.hstack(session.run(names, {"pixels": pixels}))


def _shrink_weights(graph: Any, precision: str) -> None:  # noqa: ANN401 - an onnx.GraphProto
    """Store the weights in float16 or, with a scale for each channel, in int8. Opening the file restores float32."""
    from onnx import TensorProto, helper, numpy_helper

    for number, tensor in enumerate([*graph.initializer]):
        values, name = numpy_helper.to_array(tensor), tensor.name
        if values.dtype != np.float32 or values.size < LARGE or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        stored, scale = f"{name}_{precision}", f"{name}_scale"
        if precision == FLOAT16:
            node = helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT)
            values = values.astype(np.float16)
        else:
            axis = 0 if values.ndim == 4 else values.ndim - 1  # of the output channels
            node = helper.make_node("DequantizeLinear", [stored, scale], [name], axis=axis)
            others = tuple(other for other in range(values.ndim) if other != axis)
            steps = np.maximum(np.abs(values).max(axis=others, keepdims=True) / 127, np.finfo(np.float32).tiny)
            values = np.rint(values / steps).astype(np.int8)
            graph.initializer.append(numpy_helper.from_array(steps.ravel(), scale))
        tensor.CopyFrom(numpy_helper.from_array(values, stored))
        graph.node.insert(number, node)


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
    if job.precision in INT8_LITERT:  # LiteRT quantizes only the weights otherwise
        settings["representative_dataset"] = lambda: ([pixels] for pixels in job.samples)
    job.network.export(path, format="litert", verbose=False, **settings)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(zipfile.ZipInfo("labels.txt"), "\n".join(map(text.visible, job.classifier.classes)))
    runner = Interpreter(model_path=str(path)).get_signature_runner()
    return lambda pixels: _stack(runner(pixels=pixels))


def _write_savedmodel(job: Job, path: Path) -> Run:
    """Write a SavedModel with a signature for pixels and one for encoded photos.

    It has assets.extra/labels.txt, in a folder that TensorFlow ignores.
    """
    import tensorflow as tf

    from smallset.images import graph_decoding

    def predict_encoded(photo_bytes: "tf.Tensor") -> dict[str, "tf.Tensor"]:  # in quotes, because of AutoGraph
        return job.network(graph_decoding.decode_and_resize(photo_bytes, job.classifier.image_size), training=False)

    pixels = tf.TensorSpec(job.network.input_shape, tf.float32, name="pixels")
    contents = tf.TensorSpec((None,), tf.string, name="photo_bytes")
    module = tf.Module()  # Keras's own export would store each weight twice
    module.network = job.network
    signatures = {
        "serving_default": tf.function(partial(job.network, training=False), [pixels]),
        ENCODED: tf.function(predict_encoded, [contents]),
    }
    tf.saved_model.save(module, str(path), signatures)
    files.write_text(path / "assets.extra" / "labels.txt", "\n".join(map(text.visible, job.classifier.classes)))
    loaded = tf.saved_model.load(str(path))
    return lambda pixels: _stack(loaded.signatures["serving_default"](pixels=tf.constant(pixels)))


def _stack(outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    return np.hstack([outputs[name] for name in sorted(outputs)])


ENCODED_NOTE = f"The signature {ENCODED} takes photo_bytes, string (n,): the bytes of JPEG or PNG files."
WEB_NOTE = "Any static server can serve it. Here: python -m http.server --directory {path}, then http://localhost:8000"
FORMATS = {
    "onnx": Format(".onnx", ("onnxruntime", "tf2onnx"), _write_onnx, int8=(INT8_ONNX, (INT8_WEIGHTS,))),
    "litert": Format(".tflite", ("ai_edge_litert",), _write_litert, int8=(INT8_LITERT, (INT8_WEIGHTS,))),
    "savedmodel": Format("_savedmodel", (), _write_savedmodel, ENCODED_NOTE),
    "web": Format("_web", ("onnxruntime", "tf2onnx"), _write_web, WEB_NOTE, FLOAT16),
}
