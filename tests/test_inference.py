"""What is not trained: the numbers that Keras gives, by OpenVINO or, where that fails, by TensorFlow."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from networks import convnet

from smallset.models import engine

SIDE = 78


@pytest.mark.parametrize("rows", [1, 5])
def test_a_compiled_network_gives_what_keras_gives(rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    network = convnet(SIDE, 3)
    pixels = np.random.default_rng(0).uniform(0, 255, (rows, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_allclose(engine.compiled(network)(pixels), network(pixels, training=False), atol=1e-5)
    assert "TensorFlow runs it" not in capsys.readouterr().err


def test_what_openvino_cannot_run_tensorflow_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: object) -> None:
        raise RuntimeError("Exception from somewhere:\nthe shapes conflict\n\n")

    network = convnet(SIDE, 3)
    monkeypatch.setattr(engine, "openvino", failing)
    pixels = np.ones((2, SIDE, SIDE, 3), np.float32)
    np.testing.assert_allclose(engine.compiled(network)(pixels), network(pixels, training=False), atol=1e-5)
    assert "convnet: TensorFlow runs it, since OpenVINO does not: the shapes conflict" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells on which cores a thread may run")
def test_no_thread_keeps_to_a_core_that_another_process_would_take_as_well() -> None:
    step, pixels = engine.compiled(convnet(SIDE, 3)), np.ones((256, SIDE, SIDE, 3), np.float32)
    with ThreadPoolExecutor() as pool:
        work = pool.submit(step, pixels)
        seen = set[frozenset[int]]()
        while not work.done():
            seen |= {frozenset(os.sched_getaffinity(int(thread.name))) for thread in Path("/proc/self/task").iterdir()}
    assert seen == {frozenset(os.sched_getaffinity(0))}
