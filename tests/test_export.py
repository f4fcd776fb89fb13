"""Exports give other runtimes the original's probabilities, or they are not written."""

import json
import re
import sys
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from networks import convnet, save_classifier
from tiny import assign

from smallset.cli import export, export_formats
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
    for package in export_formats.FORMATS[name].packages:
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
    assert "the same label for 32 of 32 generated pictures\n" in printed
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
    assert "the same label for 10 of 10 photos; accuracy 0.900, original 0.900\n" in printed
    classifier, pixels = Classifier.load(model), np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3))
    pixels[:3] = [classifier.resize(path) for path in drawn.paths[:3]]
    scores = run(name, tmp_path / FILES[name], pixels.astype(np.float32))["ood_score"]
    reference = classifier.reference
    assert reference is not None
    expected = reference.ood_score(classifier.features_and_probabilities(pixels.astype(np.float32))[0])
    np.testing.assert_allclose(scores[:, 0], expected / reference.threshold(), rtol=1e-3)


def test_a_savedmodel_takes_encoded_photos(drawn: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export.export(save_classifier(tmp_path / "model.keras", drawn), "savedmodel", photos=drawn.root)
    assert "The signature encoded_photos takes photo_bytes, string (n,)" in capsys.readouterr().out
    shapes = [shape for _, shape in tf.train.list_variables(str(tmp_path / "model_savedmodel/variables/variables"))]
    network = Classifier.load(tmp_path / "model.keras").network
    assert sum(map(np.prod, shapes)) < 1.1 * network.count_params()  # Keras's own export stores each twice
    loaded = tf.saved_model.load(str(tmp_path / "model_savedmodel"))
    contents = [path.read_bytes() for path in drawn.paths]
    outputs = loaded.signatures["encoded_photos"](photo_bytes=tf.constant(contents))
    classifier = Classifier.load(tmp_path / "model.keras")
    predictions = classifier.predict(drawn.paths)
    expected = [prediction.probabilities[1] for prediction in predictions]
    np.testing.assert_allclose(outputs["probability"][:, 0], expected, atol=1e-5)
    assert classifier.reference is not None
    scores = [prediction.ood_score / classifier.reference.threshold() for prediction in predictions]
    np.testing.assert_allclose(outputs["ood_score"][:, 0], scores, rtol=1e-3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="neither a JPEG nor a PNG"):
        loaded.signatures["encoded_photos"](photo_bytes=tf.constant([b"<svg>"]))


def test_the_service_of_the_documentation_answers_as_predict_does(
    drawn: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.testclient import TestClient

    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    [source] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    model, names = save_classifier(Path("models/fine_tuned.keras"), drawn), dict[str, Any]()
    exec(source, names)  # noqa: S102 - the code of the page
    client = TestClient(names["app"])
    answer = client.post("/predict", content=drawn.paths[0].read_bytes())
    expected = Classifier.load(model).predict(drawn.paths[0])
    assert (answer.status_code, answer.json()["label"]) == (200, expected.label)
    assert answer.json()["probability"] == pytest.approx(expected.probability)
    answer = client.post("/predict", content=b"<svg>")
    assert (answer.status_code, [*answer.json()]) == (422, ["error"])


@pytest.mark.parametrize(("shift", "words"), [(0.01, r"1\.0e-02"), (np.nan, "nan")])
def test_other_probabilities_are_an_error_and_leave_nothing(
    shift: float, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, stack = save(tmp_path, compose()), export_formats._stack
    monkeypatch.setattr(export_formats, "_stack", lambda outputs: stack(outputs) + shift)
    with pytest.raises(SmallsetError, match=rf"difference from the original: {words}; .*Expected a difference of at"):
        export.export(model, "savedmodel")
    assert list(tmp_path.iterdir()) == [model]


def test_photos_that_do_not_decode_are_left_out(
    drawn: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(tmp_path, compose())
    (drawn.root / "cat/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    export.export(model, "savedmodel", tmp_path / "a/b", drawn.root)
    assert "the same label for 10 of 10 photos" in capsys.readouterr().out
    for path in drawn.paths:
        path.unlink()
    with pytest.raises(SmallsetError, match="Expected photos, found none that decodes"):
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
    assert re.search(r"mean difference from the original: .*; accuracy 0\.\d{3}, original 0\.\d{3}\n", printed)
    pixels = np.stack([Classifier.load(model).resize(photo) for photo in drawn.paths])
    np.testing.assert_allclose(run(name, path, pixels)["probability"], network.predict(pixels, verbose=0), atol=0.02)


@pytest.mark.parametrize(
    ("name", "broken", "kept"),
    [
        ("litert", ["int8"], "int8 weights"),
        ("litert", ["int8", "int8 weights"], None),
        ("onnx", ["int8 per channel"], "int8 per tensor"),
        ("onnx", ["int8 per tensor"], "int8 per channel"),
        ("onnx", ["int8 per channel", "int8 per tensor"], "int8 weights"),
        ("onnx", ["int8 per channel", "int8 per tensor", "int8 weights"], None),
    ],
)
def test_of_the_ways_to_round_the_best_is_kept_and_a_constant_answer_never(
    name: str,
    broken: list[str],
    kept: str | None,
    drawn: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    skip_without(name)
    model, kind = save_classifier(tmp_path / "model.keras", drawn), export_formats.FORMATS[name]
    constant = Classifier.load(model).predict_dataset(drawn).probabilities[:, 1].mean()

    def collapse(job: export_formats.Job, path: Path) -> export_formats.Run:
        run = kind.write(job, path)
        return (lambda pixels: np.full((len(pixels), 1), constant)) if job.precision in broken else run

    monkeypatch.setitem(export_formats.FORMATS, name, kind._replace(write=collapse))
    with nullcontext() if kept else pytest.raises(SmallsetError, match="not written, because it differs") as error:
        export.export(model, name, photos=drawn.root, int8=True)
    assert (tmp_path / f"model_int8{kind.suffix}").exists() == (kept is not None)
    assert not [*tmp_path.glob(".part*")]
    printed = capsys.readouterr()
    assert kept is None or f" MB, {kept} (" in printed.out
    assert f"- {broken[0]}: mean difference" in (printed.err if kept else str(error.value))  # type: ignore[union-attr]


@pytest.fixture
def project(drawn: Dataset, tmp_path: Path) -> Path:
    """A project with a model, and without its test photos."""
    photos = assign(drawn)
    photos = replace(photos, table=photos.table.assign(file=[f"drawn/{file}" for file in photos.table["file"]]))
    photos.write(tmp_path / "metrics/photos.csv")
    (tmp_path / "models").mkdir()
    model = save_classifier(tmp_path / "models/model.keras", drawn)
    for file in photos.test.table["file"]:
        (tmp_path / file).unlink()
    return model


def test_in_a_project_validation_photos_are_compared_and_test_photos_never_read(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without("litert")
    export.export(project, "savedmodel")
    assert "the same label for 2 of 2 validation photos; accuracy" in capsys.readouterr().out
    export.export(project, "litert", int8=True)
    (project.parents[1] / "drawn/cat/cat.0.jpg").unlink()  # a training photo, as after git clone without dvc pull
    with pytest.raises(SmallsetError, match="--int8 needs photos. Name a folder of photos with --photos"):
        export.export(project, "litert", project.with_name("other.tflite"), int8=True)
    export.export(project, "savedmodel", project.with_name("other"))
    assert "generated pictures" in capsys.readouterr().out


def test_float16_weights_are_half_as_large_and_large_values_stay(tmp_path: Path) -> None:
    skip_without("onnx")
    network = convnet(78, 3)
    network.layers[-1].kernel.assign(network.layers[-1].kernel * 1e7)
    classifier = Classifier(network, CLASSES)
    job = export_formats.Job("model", classifier, export._name_outputs(classifier, True), "float32", [])
    sizes, outputs = [], []
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 78, 78, 3)).astype(np.float32)
    for precision in ("float32", "float16 weights"):
        path = tmp_path / f"{precision}.onnx"
        outputs.append(export_formats._write_onnx(job._replace(precision=precision), path)(pixels))
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=0.02)


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
    with pytest.raises(SmallsetError, match="--int8 needs --format onnx or --format litert"):
        export.export(model, "savedmodel", photos=drawn.root, int8=True)
    (tmp_path / "model_savedmodel").touch()
    with pytest.raises(SmallsetError, match=r"model_savedmodel: exists already\. Move it away, or name another path"):
        export.export(model, "savedmodel")
    with pytest.raises(SmallsetError, match=r"model: expected a path that ends in \.tflite"):
        export.export(model, "litert", tmp_path / "model")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(SmallsetError, match=r"--format onnx needs tf2onnx, which .* pip install .*\[export\]"):
        export.export(tmp_path / "model.keras", "onnx")
