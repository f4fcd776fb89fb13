"""Heat maps of networks for which it is known what they look at."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from networks import convnet
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from smallset.cli.main import app
from smallset.models import convnets
from smallset.models.classifier import Classifier
from smallset.pipeline.errors import SmallsetError
from smallset.reports import gradcam

Pixels = NDArray[np.float32]


@pytest.fixture
def pixels() -> Pixels:
    """(8, 8, 3): red at the upper left, blue at the lower right, black elsewhere."""
    values = np.zeros((8, 8, 3), np.float32)
    values[:3, :3, 0] = values[5:, 5:, 2] = 255
    return values


def sum_colors(weights: list[list[float]], activation: str) -> keras.Model:
    """A network whose logits are the mean of each color times `weights` (3, outputs)."""
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(inputs))
    model = keras.Model(inputs, layers.Dense(len(weights[0]), activation=activation)(x), name="colors")
    model.set_weights([np.eye(3)[None, None], np.zeros(3), np.array(weights), np.zeros(len(weights[0]))])
    return model


@pytest.mark.parametrize("scale", [1e-3, 1e3])  # of an ordinary sigmoid, and of one that is saturated
def test_a_sigmoid_has_evidence_for_both_classes(pixels: Pixels, scale: float) -> None:
    model = sum_colors([[2 * scale], [0], [-scale]], "sigmoid")
    assert (float(model(pixels[None])[0, 0]) == 1) == (scale > 1)
    for label, color in ((1, 0), (0, 2)):
        np.testing.assert_array_equal(gradcam.compute_heatmap(model, pixels, label).values, pixels[..., color] / 255)


def test_a_softmax_has_evidence_for_each_class_or_none(pixels: Pixels) -> None:
    model = sum_colors([[1, 0, -1], [0, 1, -1], [-1, 0, 1]], "softmax")
    for label in range(3):
        heatmap = gradcam.compute_heatmap(model, pixels, label)
        np.testing.assert_array_equal(heatmap.values, pixels[..., label] / 255)
        assert (heatmap.method == gradcam.NO_EVIDENCE) == (label == 1)  # nothing is green


@pytest.mark.parametrize(("label", "color", "method"), [(1, 0, "HiResCAM"), (0, 2, "HiResCAM"), (2, 1, "no evidence")])
def test_hirescam_is_used_where_grad_cam_finds_nothing(pixels: Pixels, label: int, color: int, method: str) -> None:
    # For this head, red at the upper left is evidence for class 1, and red elsewhere is evidence against it.
    weights = np.zeros((8, 8, 3, 3), np.float32)
    weights[..., 0, 1], weights[:3, :3, 0, 1] = -1, 1
    weights[..., 2, 0], weights[5:, 5:, 2, 0] = -1, 1
    weights[..., 2] = -1
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(layers.Conv2D(3, 1)(inputs))))
    model.set_weights([np.eye(3)[None, None], np.zeros(3), weights.reshape(-1, 3), np.zeros(3)])
    heatmap = gradcam.compute_heatmap(model, pixels, label)
    assert heatmap.method.startswith(method)
    np.testing.assert_array_equal(heatmap.values, pixels[..., color] / 255)


@pytest.mark.parametrize("cuts", [(-4, -3), (-2,)])  # as in the chapter, and as in a user's project
def test_a_network_of_parts_has_the_heat_map_of_the_same_layers_in_one(cuts: tuple[int, ...], tmp_path: Path) -> None:
    whole = convnet(78, 3)
    tensors = [whole.input, *(whole.layers[cut].output for cut in cuts)]
    parts = [keras.Model(a, b) for a, b in itertools.pairwise(tensors)]
    x = inputs = keras.Input(tensors[-1].shape[1:])
    for layer in whole.layers[cuts[-1] + 1 :]:
        x = layer(x)
    Classifier(convnets.join([*parts, keras.Model(inputs, x)], "parts"), ("a", "b", "c")).save(tmp_path / "parts.keras")
    photo = np.random.default_rng(0).uniform(0, 255, (78, 78, 3)).astype(np.float32)
    networks = (whole, Classifier.load(tmp_path / "parts.keras").network)
    maps = [[gradcam.compute_heatmap(model, photo, i).values for i in range(3)] for model in networks]
    assert maps[0][0].shape == whole.layers[-3].output.shape[1:3]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)


def test_features_of_several_layers_have_the_heat_map_of_the_last_one(pixels: Pixels) -> None:
    inputs = keras.Input((8, 8, 3))
    early = layers.Conv2D(3, 1, name="early")(inputs)
    last = layers.AveragePooling2D(2, name="last")(early)
    features = keras.ops.concatenate([keras.ops.mean(x, axis=(1, 2)) for x in (early, last)], axis=-1)
    backbone = keras.Model(inputs, features)
    pooled = keras.Input((6,))
    model = convnets.join([backbone, keras.Model(pooled, layers.Dense(1, "sigmoid")(pooled))], "several")
    model.set_weights([np.eye(3)[None, None], np.zeros(3), np.array([[1.0], [0], [0], [1], [0], [0]]), np.zeros(1)])
    heatmap = gradcam.compute_heatmap(model, pixels, 1)
    np.testing.assert_array_equal(heatmap.values, pixels[..., 0].reshape(4, 2, 4, 2).mean((1, 3)) / 255)


def test_the_most_probable_class_is_explained_unless_another_one_is_named(pixels: Pixels) -> None:
    classifier = Classifier(sum_colors([[1e-2], [0], [-1e-3]], "sigmoid"), ("cat", "d\n\x1b"))
    photo = pixels.astype(np.uint8).repeat(2, axis=1)  # 8 x 16, which the network sees as 8 x 8
    expected = classifier.predict(photo).probability
    figure, name, probability = gradcam.explain(classifier, photo, None)
    assert (name, probability) == ("d\n\x1b", expected)
    ax = figure.axes[0]
    assert ax.get_title() == f"d\\n\\x1b {expected:.4f}\nGrad-CAM"
    assert np.asarray(ax.images[0].get_array()).shape == (8, 16, 3)
    _, name, probability = gradcam.explain(classifier, photo, "cat")
    assert name == "cat"
    assert probability == pytest.approx(1 - expected)
    with pytest.raises(SmallsetError, match=r"--label: expected one of cat, d\\n.*; found fox"):
        gradcam.explain(classifier, photo, "fox")


def test_the_warm_end_of_the_colormap_is_over_the_evidence(tmp_path: Path, pixels: Pixels) -> None:
    # Red is evidence for the dog, blue for the cat.
    photo, classifier = pixels.astype(np.uint8), Classifier(sum_colors([[1], [0], [-1]], "sigmoid"), ("cat", "dog"))
    warm, cold = (np.array(color) * 255 * gradcam.ALPHA for color in ((0.5, 0, 0), (0, 0, 0.5)))
    red, blue = (np.array(color) * 255 * (1 - gradcam.ALPHA) for color in ((1, 0, 0), (0, 0, 1)))
    for label, expected in ((1, [red + warm, blue + cold]), (0, [red + cold, blue + warm])):
        blended = gradcam.blend(photo, gradcam.compute_heatmap(classifier.network, pixels, label).values)
        np.testing.assert_allclose([blended[0, 0], blended[-1, -1]], expected, atol=1)
    Image.fromarray(photo).resize((600, 300)).save(tmp_path / "a.png")
    rows = pd.DataFrame({"file": ["a.png"], "actual": ["cat"], "predicted": ["dog"], "probability": [0.9]})
    [figure] = gradcam.show_heatmaps(classifier, "colors", rows, tmp_path)
    assert [(picture.width, picture.height) for picture in figure.pictures] == [(240, 120)] * 2
    assert figure.description == "cat, predicted as dog: 0.9000; Grad-CAM"


def test_a_network_without_a_dense_layer_is_refused(pixels: Pixels) -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs), name="other")
    with pytest.raises(SmallsetError, match="other: expected a network with feature maps that ends in a Dense layer"):
        gradcam.compute_heatmap(model, pixels, 0)


def test_the_command_writes_a_new_file_each_time(
    pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Classifier(sum_colors([[1], [0], [-1]], "sigmoid"), ("cat", "dog")).save("model.keras")
    Image.fromarray(pixels.astype(np.uint8)).save("a.png")
    command = ["explain", "model.keras", "a.png", "--label", "dog"]
    results = [CliRunner().invoke(app, [*command, *more]) for more in ([], [], ["--output", "a.gradcam.png"])]
    assert results[0].stdout.startswith("a.gradcam.png: dog ")
    assert results[1].stdout.startswith("a.gradcam-2.png: dog ")
    assert results[2].exit_code == 2
    assert "a.gradcam.png: expected a new file that ends in .png" in results[2].stderr
    assert {path.name for path in tmp_path.glob("*.png")} == {"a.png", "a.gradcam.png", "a.gradcam-2.png"}
    long = Path("a.png").rename("x" * 251 + ".png")
    for name in (f"{'x' * 243}.gradcam.png", f"{'x' * 241}.gradcam-2.png"):
        assert CliRunner().invoke(app, [*command[:2], str(long)]).stdout.startswith(f"{name}: ")
