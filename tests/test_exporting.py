"""Exports that other runtimes run, with Keras's probabilities, or that are not there."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import convnet, limited

from smallset.cli import exporting
from smallset.datasets import lists
from smallset.models import convnets, heads, limits, model_file
from smallset.pipeline.errors import SmallsetError
from smallset.training import linear_probe

CLASSES = ("cat", "dog", "고양이")
FORMATS: list[exporting.Format] = ["onnx", "litert", "savedmodel"]
PACKAGES = {"onnx": ["tf2onnx", "onnxruntime"], "litert": ["ai_edge_litert"], "savedmodel": []}
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "savedmodel": "model_savedmodel"}


def book(shape: tuple[int, ...]) -> keras.Model:
    return heads.book(shape, 2, 4, 0.5)


def pooled(shape: tuple[int, ...]) -> keras.Model:
    head = linear_probe.unsolved(shape, 2)
    head.set_weights([0.01 * weights for weights in head.get_weights()])  # else it is certain
    return head


def composition(head: Callable[[tuple[int, ...]], keras.Model] = book) -> keras.Model:
    """As the pipeline's models on a base: a constant, swapped colours, ConvNeXt's activation, parts, one sigmoid."""
    pixels = keras.Input((32, 32, 3))
    x = keras.applications.vgg16.preprocess_input(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="gelu")(x)
    trunk = keras.Model(pixels, keras.layers.BatchNormalization()(x), name="trunk")
    return convnets.chain([trunk, head(trunk.output_shape[1:])], "smallset")


def saved(folder: Path, model: keras.Model) -> Path:
    model_file.save(model, folder / "model.keras", CLASSES[: max(2, model.output_shape[1])])
    return folder / "model.keras"


def run(to: str, path: Path, pixels: Any) -> Any:
    """What a user's program would do: nothing of smallset or Keras."""
    if to == "onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(path).run(None, {"pixels": pixels})[0]
    if to == "litert":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path))
        (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(taken["index"], pixels.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])
    loaded = tf.saved_model.load(str(path))  # its variables live as long as it does
    return loaded.signatures["serving_default"](pixels=tf.constant(pixels))["probability"].numpy()


def labels(to: str, path: Path) -> list[str]:
    """The classes that travel along."""
    if to == "onnx":
        import onnxruntime

        return json.loads(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["classes"])
    if to == "litert":
        with zipfile.ZipFile(path) as file:
            return file.read("labels.txt").decode().split("\n")
    return (path / "assets.extra" / "labels.txt").read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("kind", ["convnet", "book", "pooled"])
@pytest.mark.parametrize("to", FORMATS)
def test_another_runtime_gives_the_same_probabilities(to: exporting.Format, kind: str, tmp_path: Path) -> None:
    for package in PACKAGES[to]:
        pytest.importorskip(package)
    model = convnet(78, 3) if kind == "convnet" else composition({"book": book, "pooled": pooled}[kind])
    text = exporting.export(saved(tmp_path, model), to, None, None, int8=False)
    size, outputs = model.input_shape[1], model.output_shape[1]
    assert text.startswith(f"{tmp_path / FILES[to]}: ")
    assert f"input: pixels, float32 (n, {size}, {size}, 3), RGB in 0..255\n" in text
    meaning = "P(dog); classes: 0 cat, 1 dog" if outputs == 1 else "P(class); classes: 0 cat, 1 dog, 2 고양이"
    assert f"output: probability, float32 (n, {outputs}), {meaning}\n" in text
    assert "on 8 drawn pictures" in text
    assert labels(to, tmp_path / FILES[to]) == list(CLASSES[: max(2, outputs)])
    pixels = np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype(np.float32)
    expected = model.predict(pixels, verbose=0)
    assert np.ptp(expected[:, 0]) > 1e-4  # else any constant would do
    np.testing.assert_allclose(run(to, tmp_path / FILES[to], pixels), expected, atol=1e-5)


@pytest.mark.parametrize("to", FORMATS)
def test_how_unlike_a_photo_is_travels_along(to: exporting.Format, drawn: lists.Photos, tmp_path: Path) -> None:
    for package in PACKAGES[to]:
        pytest.importorskip(package)
    path = limited(tmp_path / "model.keras", lists.digested(drawn))
    text = exporting.export(path, to, None, None, int8=False)
    assert "output: unlikeness, float32 (n, 1); above 1 a photo is unlike" in text
    known, size = limits.needed(path), model_file.load(path).input_shape[1]
    pixels = np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype(np.float32)
    expected = limits.answering(model_file.load(path), known)(pixels)[:, 2]
    run = {"onnx": exporting.from_onnx, "litert": exporting.from_litert, "savedmodel": exporting.from_saved}[to]
    found = run(tmp_path / FILES[to])(pixels)[:, -1]
    np.testing.assert_allclose(found, expected / known.end(), rtol=2e-2)  # answering is in bfloat16
    assert known.unlike(expected).tolist() == (found > 1).tolist()


def test_the_check_takes_any_folder_of_photos_and_leaves_out_what_does_not_decode(
    drawn: lists.Photos, tmp_path: Path
) -> None:
    model = saved(tmp_path, composition())
    (drawn.folder / "cat" / "note.txt").write_text("no photo")
    text = exporting.export(model, "savedmodel", tmp_path / "a" / "b", drawn.folder, int8=False)
    assert text.startswith(f"{tmp_path / 'a' / 'b'}: ")
    assert text.endswith("on 10 photos")
    (drawn.folder / "cat" / "note.txt").rename(tmp_path / "a" / "note.txt")
    with pytest.raises(SmallsetError, match=r"a: expected photos, found none"):
        exporting.export(model, "savedmodel", tmp_path / "c", tmp_path / "a", int8=False)


@pytest.mark.parametrize(("shift", "said"), [(0.01, r"0\.01"), (np.nan, "nan")])
def test_other_probabilities_are_an_error_and_leave_nothing(
    shift: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, true = saved(tmp_path, composition()), exporting.from_saved
    monkeypatch.setattr(exporting, "from_saved", lambda path: lambda pixels: true(path)(pixels) + shift)
    with pytest.raises(SmallsetError, match=rf"within 0\.001, found a difference of {said} on 8 photos. Nothing was"):
        exporting.export(model, "savedmodel", None, None, int8=False)
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize("to", ["onnx", "litert"])
def test_int8_is_small_and_says_what_it_costs(to: exporting.Format, drawn: lists.Photos, tmp_path: Path) -> None:
    for package in PACKAGES[to]:
        pytest.importorskip(package)
    network = convnet(78, 2)
    model = saved(tmp_path, network)
    text = exporting.export(model, to, None, drawn.folder, int8=True)
    path = tmp_path / FILES[to].replace("model", "model_int8")
    assert path.stat().st_size < 0.3 * 4 * network.count_params()
    assert "accuracy on 10 photos: 0." in text
    assert ", before int8 0." in text
    pixels = exporting.pixels(drawn.folder, 78, 10)
    np.testing.assert_allclose(run(to, path, pixels), network.predict(pixels, verbose=0), atol=0.02)


def test_int8_needs_class_folders_and_a_format_that_has_it(drawn: lists.Photos, tmp_path: Path) -> None:
    for to, folder in (("savedmodel", drawn.folder), ("onnx", None)):
        with pytest.raises(SmallsetError, match="--int8 needs --to onnx or --to litert, and --photos"):
            exporting.export(tmp_path / "model.keras", to, None, folder, int8=True)  # type: ignore[arg-type]


def test_nothing_is_overwritten_and_endings_are_kept(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(SmallsetError, match=r"model\.onnx: exists already\. Move it away, or name .* --output"):
        exporting.export(tmp_path / "model.keras", "onnx", None, None, int8=False)
    with pytest.raises(SmallsetError, match=r"model: expected a path that ends in \.tflite"):
        exporting.export(tmp_path / "model.keras", "litert", tmp_path / "model", None, int8=False)


def test_without_the_extra_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved(tmp_path, composition())
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(SmallsetError, match=r'--to onnx needs tf2onnx, not installed\. Run: pip install -e "\.\[exp'):
        exporting.export(model, "onnx", None, None, int8=False)
    assert list(tmp_path.iterdir()) == [model]
