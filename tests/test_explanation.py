"""Heat maps on networks whose eyes are known, and on the chapter's."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers
from networks import convnet
from numpy.typing import NDArray
from PIL import Image

from smallset.models import convnets, model_file
from smallset.pipeline.errors import SmallsetError
from smallset.reports import gradcam


@pytest.fixture
def pixels() -> NDArray[np.float32]:
    """(1, 8, 8, 3): red at the upper left, blue at the lower right, else black."""
    values = np.zeros((1, 8, 8, 3), np.float32)
    values[0, :3, :3, 0] = values[0, 5:, 5:, 2] = 255
    return values


def eye(weights: list[list[float]], activation: str) -> keras.Model:
    """A model that takes the mean of each colour times `weights` (3, outputs) for its logits."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 1, name="colours")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(len(weights[0]), activation=activation)(x))
    model.set_weights([np.eye(3)[None, None], np.zeros(3), np.array(weights), np.zeros(len(weights[0]))])
    return model


@pytest.mark.parametrize("scale", [1e-3, 1e3])  # an open sigmoid, and one that is 1 to the last bit
def test_a_sigmoid_shows_what_speaks_for_either_class(pixels: NDArray[np.float32], scale: float) -> None:
    model = eye([[2 * scale], [0], [-scale]], "sigmoid")
    assert (float(model(pixels)[0, 0]) == 1) == (scale > 1)
    np.testing.assert_array_equal(gradcam.heatmap(model, pixels, 1).values, pixels[0, ..., 0] / 255)
    np.testing.assert_array_equal(gradcam.heatmap(model, pixels, 0).values, pixels[0, ..., 2] / 255)


def test_a_softmax_shows_what_speaks_for_each_class(pixels: NDArray[np.float32]) -> None:
    model = eye([[1, 0, -1], [0, 1, -1], [-1, 0, 1]], "softmax")
    for label, colour in ((0, 0), (2, 2)):
        np.testing.assert_array_equal(gradcam.heatmap(model, pixels, label).values, pixels[0, ..., colour] / 255)
    nothing = gradcam.heatmap(model, pixels, 1)  # nothing green
    assert nothing.method == gradcam.NOTHING
    assert not nothing.values.any()


@pytest.mark.parametrize(("label", "colour", "expected"), [(1, 0, "HiResCAM"), (0, 2, "HiResCAM"), (2, 1, "nothing")])
def test_where_grad_cam_shows_nothing_another_method_does_and_is_named(
    pixels: NDArray[np.float32], label: int, colour: int, expected: str
) -> None:
    # A head that looks at each place by itself: red at the upper left speaks for 1, at all other places against it.
    weights = np.zeros((8, 8, 3, 3), np.float32)
    weights[..., 0, 1], weights[:3, :3, 0, 1] = -1, 1
    weights[..., 2, 0], weights[5:, 5:, 2, 0] = -1, 1
    weights[..., 2] = -1
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(layers.Conv2D(3, 1)(inputs))))
    model.set_weights([np.eye(3)[None, None], np.zeros(3), weights.reshape(-1, 3), np.zeros(3)])
    heat = gradcam.heatmap(model, pixels, label)
    assert heat.method.startswith(expected)
    np.testing.assert_array_equal(heat.values, pixels[0, ..., colour] / 255)
    figure, _, _ = gradcam.explain(model, ("a", "b\n\x1b", "c"), pixels[0].astype(np.uint8), "b\n\x1b")
    name, method = figure.axes[0].get_title().split("\n")
    assert name.startswith(r"b\n\x1b ")
    assert method == "HiResCAM"


def test_a_composition_is_explained_as_the_same_layers_in_one(tmp_path: Path) -> None:
    whole = convnet(78, 3)
    cut, last = whole.layers[-4].output, whole.layers[-3].output  # of the last pooling, and the convolution after it
    top, features = keras.Model(cut, last, name="top"), keras.Input(last.shape[1:])
    head = keras.Model(features, whole.layers[-1](whole.layers[-2](features)), name="head")
    chained = convnets.chain([keras.Model(whole.input, cut, name="trunk"), top, head], "smallset")
    photo = np.random.default_rng(0).uniform(0, 255, (1, 78, 78, 3)).astype(np.float32)
    maps = []
    for name, model in {"whole": whole, "chained": chained}.items():
        model_file.save(model, tmp_path / f"{name}.keras", ("a", "b", "c"))
        maps.append([gradcam.heatmap(model_file.load(tmp_path / f"{name}.keras"), photo, i).values for i in range(3)])
    assert maps[0][0].shape == last.shape[1:3]
    assert np.max(maps) == 1
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)


def test_the_class_is_the_likeliest_unless_it_is_named(pixels: NDArray[np.float32]) -> None:
    model = eye([[1e-2], [0], [-1e-3]], "sigmoid")
    photo = pixels[0].astype(np.uint8).repeat(2, axis=1)  # 8 x 16, which the model sees as 8 x 8
    figure, name, probability = gradcam.explain(model, ("cat", "dog"), photo, None)
    expected = float(model(tf.image.resize(photo, (8, 8))[None])[0, 0])
    assert name == "dog"
    assert probability == pytest.approx(expected)
    ax = figure.axes[0]
    assert ax.get_title() == f"dog {expected:.4f}\nGrad-CAM"
    assert [list(image.get_extent()) for image in ax.images] == [[-0.5, 15.5, 7.5, -0.5]] * 2
    _, name, probability = gradcam.explain(model, ("cat", "dog"), photo, "cat")
    assert name == "cat"
    assert probability == pytest.approx(1 - expected)


def test_photos_are_shown_under_what_speaks_for_the_predicted_class(
    pixels: NDArray[np.float32], tmp_path: Path
) -> None:
    Image.fromarray(pixels[0].astype(np.uint8)).resize((16, 8), Image.Resampling.NEAREST).save(tmp_path / "a.png")
    rows = pd.DataFrame({"file": ["a.png", "a.png"], "predicted": ["dog", "cat"]})
    model = eye([[1], [0], [-1]], "sigmoid")
    (dog, method), (cat, _) = gradcam.overlays(model, ("cat", "dog"), rows, tmp_path, 16)
    assert method == "Grad-CAM"
    assert dog.shape == (8, 16, 3)
    # What is red speaks for the dog, what is blue for the cat: there the colours' warm end lies over the photo.
    warm, cold = (np.array(colour) * 255 * gradcam.ALPHA for colour in ((0.5, 0, 0), (0, 0, 0.5)))
    red, blue = (np.array(colour) * 255 * (1 - gradcam.ALPHA) for colour in ((1, 0, 0), (0, 0, 1)))
    np.testing.assert_allclose([dog[0, 0], dog[-1, -1]], [red + warm, blue + cold], atol=1)
    np.testing.assert_allclose([cat[0, 0], cat[-1, -1]], [red + cold, blue + warm], atol=1)


def test_a_class_that_the_model_does_not_know_is_an_error(pixels: NDArray[np.float32]) -> None:
    with pytest.raises(SmallsetError, match="--label: expected one of cat, dog; found fox"):
        gradcam.explain(eye([[1], [0], [0]], "sigmoid"), ("cat", "dog"), pixels[0].astype(np.uint8), "fox")


def test_a_model_of_another_kind_is_refused() -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs), name="other")
    with pytest.raises(SmallsetError, match="other: expected a model that ends in a Dense layer, found GlobalAv"):
        gradcam.split(model)
