"""Inference: OpenVINO runs small networks several times as fast as TensorFlow, which runs everything else."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.models import precision
from smallset.models.model_file import Network
from smallset.pipeline import progress, provenance

BATCH = 32  # photos per batch; changes speed and memory, not results
PIECE = 4  # photos that one thread computes at a time, so that the activations stay in its processor's cache

Array = NDArray[np.float32]
T = TypeVar("T")
Step = Callable[[Array], Array]  # (n, ...) to (n, ...), for any n
Model = Any  # an openvino.Model


def compile_network(network: Network, keep: Callable[[Model], object] | None = None) -> Step:
    """Compile a network for inference: a function of float32 rows (n, ...) that returns float32 rows (n, ...).

    A row's result does not depend on the other rows. The precision is the one that `precision.prepare` set. TensorFlow
    runs the network on a GPU, and when OpenVINO fails for any reason; stderr then has one line with the reason.

    keep: Called with OpenVINO's form of the network, if OpenVINO runs it.
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)])
    def step(rows: "tf.Tensor") -> "tf.Tensor":  # in quotes, because AutoGraph knows no local names
        return network(rows, training=False)

    if not tf.config.list_physical_devices("GPU"):
        try:
            model = _convert(step.get_concrete_function())
            compiled = compile_model(model)
        except Exception as error:  # noqa: BLE001 - OpenVINO's import and conversion raise errors of many types
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[-1][:200]
            print(f"{network.name}: TensorFlow runs this network, because OpenVINO failed: {reason}", file=sys.stderr)
        else:
            if keep:
                keep(model)
            return compiled
    return lambda rows: step(rows).numpy()


def predict_batches(step: Callable[[Array], T], dataset: Dataset, image_size: int, what: str) -> Iterator[T]:
    """Apply `step` to all photos, in batches in the order of the dataset. what: the name of the progress bar."""
    from smallset.images import batches

    with progress.bar(total=len(dataset), what=what, unit=" photos") as bar:
        for pixels, _ in batches.load(dataset, image_size, BATCH):
            yield step(pixels.numpy())
            bar.update(len(pixels))


def compile_model(model: Model) -> Step:
    """Compile OpenVINO's form of a network, and try it: some networks, such as Swin, fail only when they run."""
    import openvino

    hints = {
        "ENABLE_CPU_PINNING": False,  # otherwise two processes compete for the same first cores
        "INFERENCE_NUM_THREADS": provenance.threads(),
        "INFERENCE_PRECISION_HINT": "bf16" if precision.in_bfloat16() else "f32",
        "PERFORMANCE_HINT": "THROUGHPUT",  # a few threads for each piece, and several pieces at once
    }
    queue = openvino.AsyncInferQueue(open_core().compile_model(model, "CPU", hints))
    outputs: dict[int, Array] = {}
    queue.set_callback(lambda request, start: outputs.update({start: request.get_output_tensor().data.copy()}))

    def run(rows: Array) -> Array:
        starts = range(0, len(rows), PIECE)
        for start in starts:
            queue.start_async(np.ascontiguousarray(rows[start : start + PIECE], np.float32), start)
        queue.wait_all()
        return np.concatenate([outputs.pop(start) for start in starts])

    run(np.zeros((3, *(length.get_length() for length in [*model.input().partial_shape][1:])), np.float32))
    return run


@cache
def open_core() -> Any:  # noqa: ANN401 - an openvino.Core
    """The only one of the process: each other one would free a stack for signals that this thread still uses.

    The next SIGTERM or Ctrl-C would then be a segmentation fault.
    """
    import openvino

    return openvino.Core()


def _convert(graph: Any) -> Model:  # noqa: ANN401 - a tf.types.experimental.ConcreteFunction
    """Let OpenVINO read the graph from a file with frozen weights.

    Its Python frontend fails on Python 3.13, takes twice as long, and adds outputs to networks such as EfficientNet.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(graph, lower_control_flow=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pb"
        path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
        return open_core().read_model(path)
