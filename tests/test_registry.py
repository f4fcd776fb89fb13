"""Backbones: the book's numbers of weights, the outputs of the originals, and features from several stages."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import torch_states

from smallset.backbones import efficientnet_lite, registry, weights
from smallset.backbones.registry import BACKBONES
from smallset.models import model_file
from smallset.pipeline.errors import SmallsetError

SIZE = 78


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)


def build(name: str, size: int = SIZE) -> keras.Model:
    return registry.build_backbone(name, registry.get(name).create().get_weights(), size)


def test_vgg16_has_the_weights_and_shapes_of_the_book(vgg16: Callable[[int], keras.Model]) -> None:
    backbone = vgg16(180)
    frozen, last_block = registry.split_at(backbone, "VGG16", "auto")
    assert (backbone.count_params(), len(backbone.weights)) == (14_714_688, 26)
    assert (last_block.count_params(), len(last_block.trainable_weights)) == (7_079_424, 6)
    assert frozen.count_params() == 14_714_688 - 7_079_424
    assert (frozen.output_shape, last_block.output_shape) == ((None, 11, 11, 512), (None, 5, 5, 512))
    assert (frozen.name, last_block.name) == ("frozen", "last_block")


# The smallest backbone of each family; the others consist of the same blocks with the same names.
FAST = ["VGG16", "MobileNet", "EfficientNetLite0"]
SLOW = [
    *["ResNet50", "ResNet50V2", "DenseNet121", "InceptionV3", "InceptionResNetV2", "Xception", "MobileNetV2"],
    *["MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny", "NASNetMobile"],
]


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_on_raw_pixels_is_the_original_in_two_parts_with_features(name: str, pixels: np.ndarray) -> None:
    backbone = registry.get(name)
    inputs = keras.Input((SIZE, SIZE, 3))
    original = keras.Model(inputs, backbone.create(input_tensor=inputs).output)
    network = registry.build_backbone(name, original.get_weights(), SIZE)
    expected = np.asarray(original(backbone.preprocess(pixels.copy())))
    frozen, last_block = registry.split_at(network, name, "auto")
    assert expected.std() > 0
    tolerance = {"rtol": 1e-3, "atol": 1e-4 * np.abs(expected).max()}
    np.testing.assert_allclose(last_block(frozen(pixels)), expected, **tolerance)
    assert frozen.count_params() + last_block.count_params() == original.count_params()
    embedder = registry.feature_network(name, original.get_weights(), SIZE)
    last = str(registry.last_frozen_layer(embedder))
    assert re.sub(r"_\d+$", "", last) == re.sub(r"_\d+$", "", frozen.layers[-1].name)  # Keras numbers some names
    assert len([layer for layer in embedder.layers if layer.name.endswith("_max")]) == len(backbone.feature_layers) + 1
    pooled = np.concatenate([expected.mean((1, 2)), expected.max((1, 2))], axis=1)
    root = pooled / np.sqrt(np.abs(pooled) + 1e-6)
    np.testing.assert_allclose(embedder(pixels)[:, -root.shape[1] :], root, rtol=0.01, atol=0.01 * np.abs(root).max())


def test_the_registry_has_all_backbones_of_keras_applications_and_those_of_smallset() -> None:
    assert set(BACKBONES) == {name for name in dir(keras.applications) if name[0].isupper()} | set(
        efficientnet_lite.SCALES
    )
    for name in ("EfficientNetLite0", "efficientnet_lite0", "efficientnet-lite0"):
        assert registry.get(name) is BACKBONES["EfficientNetLite0"]
    assert registry.get("hub:dinov2_small").source == "hub"
    assert {backbone.license for backbone in BACKBONES.values()} == {"apache-2.0", "bsd-3-clause", "cc-by-4.0", "mit"}
    inputs = keras.Input((8, 8, 3))
    assert registry.last_frozen_layer(keras.Model(inputs, keras.layers.Conv2D(2, 3, name="block1")(inputs))) is None
    with pytest.raises(SmallsetError, match=r"found 'resnet50v3'. Did you mean 'ResNet50V2'\?"):
        registry.get("resnet50v3")


def test_the_features_have_their_stages_and_power_normalization(pixels: np.ndarray, tmp_path: Path) -> None:
    tensors = registry.get("EfficientNetLite0").create().get_weights()
    network = registry.feature_network("efficientnet_lite0", tensors, SIZE)
    assert (network.name, network.output_shape) == ("backbone", (None, 2 * (40 + 80 + 112 + 192 + 320 + 1280)))
    stage = keras.Model(network.input, network.get_layer("block3b_add").output)
    mean = np.asarray(stage(pixels)).mean(axis=(1, 2))
    np.testing.assert_allclose(network(pixels)[:, :40], np.sign(mean) * np.sqrt(np.abs(mean)), atol=1e-3, rtol=1e-3)
    model_file.save(network, tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(pixels), network(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "layer", "message"),
    [
        ("VGG16", 31, "auto", "image_size: VGG16 does not take 31 px"),
        ("EfficientNetLite0", 31, "auto", "image_size: EfficientNetLite0 does not take 31 px: expected 32 px or more"),
        ("VGG16", SIZE, "block4_poll", "auto or a layer of VGG16, found 'block4_poll'. Did you mean 'block4_pool'?"),
        ("MobileNetV2", SIZE, "block_2_expand", "the layers after 'block_2_expand' in MobileNetV2 need more"),
    ],
)
def test_a_network_that_cannot_be_built_is_an_error_with_the_fix(
    name: str, size: int, layer: str, message: str
) -> None:
    with pytest.raises(SmallsetError, match=f"^params.yaml: .*{re.escape(message)}"):
        registry.split_at(build(name, size), name, layer)


def test_a_backbone_of_keras_hub_names_the_extra_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(SmallsetError, match=r"hub:dinov2_small needs keras_hub, .*Run: pip install .*\[hub\]"):
        weights.fetch("hub:dinov2_small", "imagenet")


def test_a_lite_network_scales_pixels_and_its_last_block_returns_0_to_6(pixels: np.ndarray) -> None:
    # The published weights without the 1,281,000 of the classifier, and with the normalizations folded in: 3,413,024
    # of Lite0, less three for each of its 21,008 filters.
    for name, count in (("Lite0", 3_350_000), ("Lite1", 4_108_848), ("Lite2", 4_782_024)):
        assert efficientnet_lite.create(f"EfficientNet{name}").count_params() == count
    network = build("EfficientNetLite2")
    frozen, last_block = registry.split_at(network, "EfficientNetLite2", "auto")
    assert [part.layers[-1].name for part in (frozen, last_block)] == ["block5d_add", "top_conv"]
    maps = last_block.predict(frozen.predict(pixels, verbose=0), verbose=0)
    assert maps.shape == (2, 3, 3, 1280)
    assert 0 == maps.min() < maps.max() <= 6
    scaled = network.get_layer("rescaling")(np.full((1, SIZE, SIZE, 3), 255, np.float32))
    np.testing.assert_allclose(scaled, (255 - 127) / 128, rtol=1e-6)


@pytest.mark.parametrize("layer", ["stem_conv", "block3b_dwconv"])
def test_a_state_of_torch_gives_kernels_that_include_their_normalization(layer: str) -> None:
    state, network = torch_states.lite("EfficientNetLite0"), efficientnet_lite.create("EfficientNetLite0")
    network.set_weights(efficientnet_lite.convert_torch(state))
    folded = network.get_layer(layer)
    plain = type(folded).from_config(folded.get_config() | {"use_bias": False, "activation": None})
    kernel, *normalization = (state[name] for name in state if name.startswith(f"{layer}.") and "num" not in name)
    inputs = keras.Input((32, 32, folded.input.shape[-1]))
    expected = keras.Sequential([inputs, plain, keras.layers.BatchNormalization(epsilon=1e-3), keras.layers.ReLU(6.0)])
    order = (2, 3, 0, 1) if "dwconv" in layer else (2, 3, 1, 0)
    expected.set_weights([kernel.transpose(order), *normalization])
    values = np.random.default_rng(1).normal(size=(2, *inputs.shape[1:])).astype(np.float32)
    actual = np.asarray(folded(values))
    assert actual.std() > 0
    np.testing.assert_allclose(actual, expected.predict(values, verbose=0), rtol=1e-4, atol=1e-5)
