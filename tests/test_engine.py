"""Inference gives what Keras gives, by OpenVINO or by TensorFlow, whatever else is in the batch."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import convnet
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.models import engine

SIZE = 78
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_compiled_network_gives_what_keras_gives(rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    network = convnet(SIZE, 3)
    pixels = RANDOM.uniform(0, 255, (rows, SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(engine.compile_network(network)(pixels), network(pixels, training=False), atol=1e-5)
    assert capsys.readouterr().err == ""


def test_a_row_has_the_same_bits_in_every_batch() -> None:
    step, pixels = engine.compile_network(convnet(SIZE, 3)), RANDOM.uniform(0, 255, (9, SIZE, SIZE, 3))
    together = step(pixels.astype(np.float32))
    for row in range(9):
        assert step(pixels[row : row + 1].astype(np.float32)).tobytes() == together[row : row + 1].tobytes()


def test_a_network_with_inner_activations_has_one_output() -> None:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, activation="swish")(keras.layers.BatchNormalization()(inputs))
    network = keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="gelu")(x))
    pixels = RANDOM.normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(engine.compile_network(network)(pixels), network(pixels, training=False), atol=1e-5)


@pytest.mark.parametrize("error", [RuntimeError("somewhere:\nthe shapes conflict\n\n"), NameError("tensorflow")])
def test_tensorflow_runs_what_openvino_cannot(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import openvino

    def fail(*_: object) -> None:
        raise error

    network = convnet(SIZE, 3)
    monkeypatch.setattr(openvino.Core, "read_model", fail)
    pixels = np.ones((2, SIZE, SIZE, 3), np.float32)
    np.testing.assert_allclose(engine.compile_network(network)(pixels), network(pixels, training=False), atol=1e-5)
    reason = f"{type(error).__name__}: {error}".strip().splitlines()[-1]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"convnet: TensorFlow runs this network, because OpenVINO failed: {reason}"


def test_openvino_is_imported_only_to_compile() -> None:
    script = "import sys; from smallset.models import engine, classifier; assert 'openvino' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_photos_are_predicted_in_their_order(drawn: Dataset) -> None:
    def colors(dataset: Dataset) -> NDArray[np.float32]:
        return np.concatenate([*engine.predict_batches(lambda pixels: pixels.mean(axis=(1, 2)), dataset, 16, "colors")])

    rows = np.array([7, 2])
    assert colors(drawn).shape == (10, 3)
    np.testing.assert_array_equal(colors(drawn.take(rows)), colors(drawn)[rows])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux shows the cores that a thread may use")
def test_no_thread_is_pinned_to_a_core() -> None:
    step, pixels = engine.compile_network(convnet(SIZE, 3)), np.ones((256, SIZE, SIZE, 3), np.float32)
    with ThreadPoolExecutor() as pool:
        work = pool.submit(step, pixels)
        cores = set[frozenset[int]]()
        while not work.done():
            cores |= {frozenset(os.sched_getaffinity(int(thread.name))) for thread in Path("/proc/self/task").iterdir()}
    assert cores == {frozenset(os.sched_getaffinity(0))}
