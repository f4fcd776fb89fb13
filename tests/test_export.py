"""Exports give other runtimes the original's probabilities, or they are not written."""

import json
import sys
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import convnet, save_classifier

from smallset.cli import export
from smallset.datasets.dataset import Dataset
from smallset.models import convnets
from smallset.models.classifier import Classifier
from smallset.pipeline.errors import SmallsetError

CLASSES = ("cat", "dog", "고양이")
FILES = {"onnx": "model.onnx", "litert": "model.tflite", "savedmodel": "model_savedmodel"}
FORMATS = pytest.mark.parametrize("name", FILES)


def compose() -> keras.Model:
    """As the chapter's networks: a constant, swapped colors, ConvNeXt's activation, parts, one sigmoid."""
    pixels = keras.Input((32, 32, 3))
    x = keras.applications.vgg16.preprocess_input(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="gelu")(x)
    frozen = keras.Model(pixels, keras.layers.BatchNormalization()(x), name="frozen")
    head = convnets.book_head(frozen.output_shape[1:], 2, 4, 0.5)
    head.set_weights([0.01 * weights for weights in head.get_weights()])  # otherwise it is certain
    return convnets.join([frozen, head], "smallset")


def save(folder: Path, network: keras.Model) -> Path:
    Classifier(network, CLASSES[: max(2, network.output_shape[1])]).save(folder / "model.keras")
    return folder / "model.keras"


def skip_without(name: str) -> None:
    for package in export.FORMATS[name].packages:
        pytest.importorskip(package)


def run(name: str, path: Path, pixels: Any) -> dict[str, Any]:
    """Run a file as a user's program does, without smallset and Keras."""
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"pixels": pixels}), strict=True))
    if name == "litert":
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_path=str(path)).get_signature_runner()(pixels=pixels)
    loaded = tf.saved_model.load(str(path))  # its variables live as long as it does
    outputs = loaded.signatures["serving_default"](pixels=tf.constant(pixels))
    return {name: values.numpy() for name, values in outputs.items()}


def labels(name: str, path: Path) -> list[str]:
    if name == "onnx":
        import onnxruntime

        return json.loads(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["classes"])
    files = zipfile.Path(path) if name == "litert" else path / "assets.extra"
    return (files / "labels.txt").read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("build", [compose, lambda: convnet(78, 3)])
@FORMATS
def test_another_runtime_gives_the_same_probabilities(
    name: Any, build: Callable[[], keras.Model], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without(name)
    network, path = build(), tmp_path / FILES[name]
    export.export(save(tmp_path, network), name)
    printed, (_, size, _, _), outputs = capsys.readouterr().out, network.input_shape, network.output_shape[1]
    assert printed.startswith(f"{path}: ")
    assert f"input: pixels, float32 (n, {size}, {size}, 3), RGB in 0..255\n" in printed
    meaning = "P(dog); classes: 0 cat, 1 dog" if outputs == 1 else "P(class); classes: 0 cat, 1 dog, 2 고양이"
    assert f"output: probability, float32 (n, {outputs}), {meaning}\n" in printed
    assert "on 8 generated pictures" in printed
    assert labels(name, path) == list(CLASSES[: max(2, outputs)])
    pixels = np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype(np.float32)
    expected = network.predict(pixels, verbose=0)
    assert np.ptp(expected[:, 0]) > 1e-4  # otherwise any constant would pass
    np.testing.assert_allclose(run(name, path, pixels)["probability"], expected, atol=1e-5)


@FORMATS
def test_the_ood_score_is_an_output(
    name: Any, drawn: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without(name)
    model = save_classifier(tmp_path / "model.keras", drawn)
    export.export(model, name, photos=drawn.root)
    printed = capsys.readouterr().out
    assert "output: ood_score, float32 (n, 1); above 1 the photo is unknown\n" in printed
    assert "on 10 photos" in printed
    classifier, pixels = Classifier.load(model), np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3))
    pixels[:3] = [classifier.resize(path) for path in drawn.paths[:3]]
    scores = run(name, tmp_path / FILES[name], pixels.astype(np.float32))["ood_score"]
    reference = classifier.reference
    assert reference is not None
    expected = reference.ood_score(classifier.features_and_probabilities(pixels.astype(np.float32))[0])
    np.testing.assert_allclose(scores[:, 0], expected / reference.threshold(), rtol=1e-3)


@pytest.mark.parametrize(("shift", "words"), [(0.01, r"1\.0e-02"), (np.nan, "nan")])
def test_other_probabilities_are_an_error_and_leave_nothing(
    shift: float, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, stack = save(tmp_path, compose()), export._stack
    monkeypatch.setattr(export, "_stack", lambda outputs: stack(outputs) + shift)
    with pytest.raises(SmallsetError, match=rf"difference from the original: {words} .*expected at most 0\.001"):
        export.export(model, "savedmodel")
    assert list(tmp_path.iterdir()) == [model]


def test_photos_that_do_not_decode_are_left_out(
    drawn: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(tmp_path, compose())
    (drawn.root / "cat/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    export.export(model, "savedmodel", tmp_path / "a/b", drawn.root)
    assert capsys.readouterr().out.endswith("on 10 photos\n")
    for path in drawn.paths:
        path.unlink()
    with pytest.raises(SmallsetError, match=r"c: expected photos in .*drawn, found none"):
        export.export(model, "savedmodel", tmp_path / "c", drawn.root)


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_int8_is_small_and_prints_both_accuracies(
    name: Any, drawn: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without(name)
    network = convnet(78, 2)
    model, path = save(tmp_path, network), tmp_path / FILES[name].replace("model", "model_int8")
    export.export(model, name, photos=drawn.root, int8=True)
    assert path.stat().st_size < 0.3 * 4 * network.count_params()
    printed = capsys.readouterr().out
    assert "mean difference from the original: " in printed
    assert "accuracy on 10 photos: 0." in printed
    pixels = np.stack([Classifier.load(model).resize(photo) for photo in drawn.paths])
    np.testing.assert_allclose(run(name, path, pixels)["probability"], network.predict(pixels, verbose=0), atol=0.02)


@pytest.mark.parametrize("broken", [["int8"], ["int8", "int8 weights"]])
def test_int8_falls_back_to_weights_only_and_a_constant_output_is_not_kept(
    broken: list[str],
    drawn: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    skip_without("litert")
    model, write = save_classifier(tmp_path / "model.keras", drawn), export.FORMATS["litert"].write

    def collapse(job: export.Job, path: Path) -> export.Run:
        run = write(job, path)
        return (lambda pixels: np.ones((len(pixels), 1))) if job.precision in broken else run

    monkeypatch.setitem(export.FORMATS, "litert", export.FORMATS["litert"]._replace(write=collapse))
    kept = len(broken) == 1
    with (
        nullcontext() if kept else pytest.raises(SmallsetError, match=r"expected at most 0\.1\. The file was not kept")
    ):
        export.export(model, "litert", photos=drawn.root, int8=True)
    assert (tmp_path / "model_int8.tflite").exists() == kept
    assert "Next attempt: 8 bits for the weights only." in capsys.readouterr().err


def test_a_web_page_is_written_beside_its_model(
    drawn: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without("web")
    from smallset.web import static_page

    monkeypatch.setattr(static_page, "write", lambda folder, name, _: (folder / "index.html").write_text(name))
    export.export(save_classifier(tmp_path / "model.keras", drawn), "web", photos=drawn.root)
    assert (tmp_path / "model_web/index.html").read_text() == "model"
    assert {path.name for path in (tmp_path / "model_web").iterdir()} == {"index.html", "model.onnx"}
    assert f"python -m http.server --directory {tmp_path}/model_web" in capsys.readouterr().out


def test_options_that_do_not_fit_are_one_error(drawn: Dataset, tmp_path: Path) -> None:
    model = tmp_path / "model.keras"
    formats: list[tuple[Any, Path | None]] = [("savedmodel", drawn.root), ("onnx", None)]
    for name, photos in formats:
        with pytest.raises(SmallsetError, match="--int8 needs --format onnx or --format litert, and --photos"):
            export.export(model, name, photos=photos, int8=True)
    (tmp_path / "model_savedmodel").touch()
    with pytest.raises(SmallsetError, match=r"model_savedmodel: exists already\. Move it away, or name another path"):
        export.export(model, "savedmodel")
    with pytest.raises(SmallsetError, match=r"model: expected a path that ends in \.tflite"):
        export.export(model, "litert", tmp_path / "model")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(SmallsetError, match=r"--format onnx needs tf2onnx, which .* pip install .*\[export\]"):
        export.export(tmp_path / "model.keras", "onnx")
