"""What is not trained: the numbers that Keras gives, by OpenVINO or, where that fails, by TensorFlow."""

import numpy as np
import pytest
from networks import convnet

from smallset.networks import inference

SIDE = 78


@pytest.mark.parametrize("rows", [1, 5])
def test_a_compiled_network_gives_what_keras_gives(rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    network = convnet(SIDE, 3)
    pixels = np.random.default_rng(0).uniform(0, 255, (rows, SIDE, SIDE, 3)).astype(np.float32)
    np.testing.assert_allclose(inference.compiled(network)(pixels), network(pixels, training=False), atol=1e-5)
    assert "TensorFlow runs it" not in capsys.readouterr().err


def test_what_openvino_cannot_run_tensorflow_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: object) -> None:
        raise RuntimeError("Exception from somewhere:\nthe shapes conflict\n\n")

    network = convnet(SIDE, 3)
    monkeypatch.setattr(inference, "openvino", failing)
    pixels = np.ones((2, SIDE, SIDE, 3), np.float32)
    np.testing.assert_allclose(inference.compiled(network)(pixels), network(pixels, training=False), atol=1e-5)
    assert "convnet: TensorFlow runs it, since OpenVINO does not: the shapes conflict" in capsys.readouterr().err
