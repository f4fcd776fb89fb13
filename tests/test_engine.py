"""Inference gives what Keras gives, by OpenVINO or by TensorFlow, whatever else is in the batch."""

import importlib.machinery
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
from networks import convnet
from numpy.typing import NDArray

from smallset.datasets.dataset import Dataset
from smallset.models import engine

SIZE = 78
RANDOM = np.random.default_rng(0)


def test_a_compiled_network_gives_what_keras_gives_and_the_same_bits_in_every_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    network, pixels = convnet(SIZE, 3), RANDOM.uniform(0, 255, (9, SIZE, SIZE, 3)).astype(np.float32)
    step = engine.compile_network(network)
    together = step(pixels)
    np.testing.assert_allclose(together, network(pixels, training=False), atol=1e-5)
    for row in range(9):
        assert step(pixels[row : row + 1]).tobytes() == together[row : row + 1].tobytes()
    assert capsys.readouterr().err == ""


def test_a_network_with_inner_activations_has_one_output() -> None:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, activation="swish")(keras.layers.BatchNormalization()(inputs))
    network = keras.Model(inputs, keras.layers.Conv2D(4, 3, activation="gelu")(x))
    pixels = RANDOM.normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(engine.compile_network(network)(pixels), network(pixels, training=False), atol=1e-5)


IMPORTED = "name 'tensorflow' is not defined"  # by OpenVINO's frontend on Python 3.13


@pytest.mark.parametrize(
    ("fails", "error", "reason"),
    [
        ("import", NameError(IMPORTED), f"NameError: {IMPORTED}"),
        ("import", ImportError("libtbb.so.12:\nno such file"), "no such file"),
        ("read_model", RuntimeError("somewhere:\nthe shapes conflict\n\n"), "the shapes conflict"),
        ("compile_model", RuntimeError(), "RuntimeError:"),
    ],
)
def test_tensorflow_runs_what_openvino_cannot(
    fails: str, error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import openvino

    if fails == "import":
        monkeypatch.delitem(sys.modules, "openvino")
        monkeypatch.setattr(importlib.machinery.PathFinder, "find_spec", mock.Mock(side_effect=error))
    else:
        monkeypatch.setattr(openvino.Core, fails, mock.Mock(side_effect=error))
    network, pixels = convnet(SIZE, 3), np.ones((2, SIZE, SIZE, 3), np.float32)
    step = engine.compile_network(network)
    monkeypatch.undo()
    np.testing.assert_allclose(step(pixels), network(pixels, training=False), atol=1e-5)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"convnet: TensorFlow runs this network, because OpenVINO failed: {reason}"


def test_signals_arrive_after_compiled_networks_are_deleted() -> None:
    arrived: list[int] = []
    handler = signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))
    for _ in range(3):
        engine.compile_network(convnet(SIZE, 3))
        signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, handler)
    assert arrived == [signal.SIGTERM] * 3


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
