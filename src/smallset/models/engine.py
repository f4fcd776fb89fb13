"""A network that is not trained now: by OpenVINO, which runs small ones several times as fast; on a GPU TensorFlow."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from smallset.datasets.lists import Photos
from smallset.images import batches
from smallset.models import precision
from smallset.pipeline import progress, provenance

BATCH = 32  # photos; moves speed and memory, no result
PIECE = 4  # of them, that a thread takes at a time: what it computes on the way stays in its cache, to half the time

Array = NDArray[np.float32]
Step = Callable[[Array], Array]  # (n, ...) to (n, ...), for any n


def compiled(part: keras.Model) -> Step:
    """What the network gives for a batch: float32, for each row the same whatever the others are.

    In the precision that `precision.prepare` chose. What OpenVINO cannot run, TensorFlow does.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, *part.input_shape[1:]), tf.float32)])
    def step(rows: tf.Tensor) -> tf.Tensor:
        return part(rows, training=False)

    if not tf.config.list_physical_devices("GPU"):
        try:
            return openvino(step.get_concrete_function())
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1][:200]
            print(f"{part.name}: TensorFlow runs it, since OpenVINO does not: {reason}", file=sys.stderr)
    return lambda rows: step(rows).numpy()


def openvino(graph: tf.types.experimental.ConcreteFunction) -> Step:
    """The graph, compiled for this processor and tried on three rows; RuntimeError where that cannot be."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report that it is used
    import openvino  # takes a second, and not every stage needs it

    hints = {
        "ENABLE_CPU_PINNING": False,  # each process would keep to the same first cores, and two halve each other
        "INFERENCE_NUM_THREADS": provenance.threads(),
        "INFERENCE_PRECISION_HINT": "bf16" if precision.in_bfloat16() else "f32",
        "PERFORMANCE_HINT": "THROUGHPUT",  # a thread or a few for each piece, not all for one after the other
    }
    network = openvino.Core().compile_model(openvino.convert_model(graph), "CPU", hints)
    queue = openvino.AsyncInferQueue(network)
    found: dict[int, Array] = {}
    queue.set_callback(lambda request, at: found.update({at: request.get_output_tensor().data.copy()}))

    def run(rows: Array) -> Array:
        starts = range(0, len(rows), PIECE)
        for at in starts:
            queue.start_async(np.ascontiguousarray(rows[at : at + PIECE], np.float32), at)
        queue.wait_all()
        return np.concatenate([found.pop(at) for at in starts])

    run(np.zeros((3, *graph.inputs[0].shape[1:])))  # some layers, as Swin's, are compiled and fail here
    return run


def on_photos(step: Callable[[Array], NDArray[Any]], found: Photos, side: int, what: str) -> NDArray[Any]:
    """step(photo) of each photo, (n, ...), from one pass in the order of `found`. what: the progress bar's name."""
    return np.concatenate([*batches(step, found, side, what)])


def batches(step: Callable[[Array], NDArray[Any]], found: Photos, side: int, what: str) -> Iterator[NDArray[Any]]:
    """The same, a batch of photos at a time."""
    with progress.bar(total=len(found.files), what=what, unit=" photos") as bar:
        for pixels, _ in batches.load(found, side, BATCH):
            yield step(pixels.numpy())
            bar.update(len(pixels))
