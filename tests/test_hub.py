"""Backbones of keras-hub, small and random: from a preset's folder to features and to a saved classifier."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from smallset.backbones import registry, weights
from smallset.models import engine
from smallset.models.classifier import Classifier
from smallset.models.convnets import probability_layer
from smallset.pipeline.errors import SmallsetError
from smallset.training import transfer

keras_hub = pytest.importorskip("keras_hub", reason='needs the extra: pip install -e ".[hub]"')

SIZE = 64
SCALE, OFFSET = [1 / 60, 1 / 70, 1 / 80], [-2.1, -1.9, -1.7]
BLOCKS = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}
PATCHES = {"image_shape": (SIZE, SIZE, 3), "patch_size": 16} | BLOCKS
Backbone = Any


def dinov2() -> Backbone:
    positions = {"intermediate_dim": 32, "position_embedding_shape": (SIZE, SIZE, 3), "num_register_tokens": 4}
    return keras_hub.models.DINOV2Backbone(**PATCHES | positions)


def vit() -> Backbone:
    return keras_hub.models.ViTBackbone(**PATCHES | {"mlp_dim": 32, "use_patch_bias": False})


def siglip() -> Backbone:
    return keras_hub.models.SigLIPBackbone(
        keras_hub.models.SigLIPVisionEncoder(**PATCHES, intermediate_dim=32),
        keras_hub.models.SigLIPTextEncoder(
            vocabulary_size=8, embedding_dim=16, max_sequence_length=4, intermediate_dim=32, **BLOCKS
        ),
    )


def resnet() -> Backbone:
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[8],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 8, 16],
        stackwise_num_blocks=[1, 1, 1],
        stackwise_num_strides=[1, 2, 2],
        block_type="bottleneck_block",
    )


class Family(NamedTuple):
    make: Callable[[], Backbone]
    tokens: int  # in front of those of the patches
    grid: int  # the side of the feature maps


FAMILIES = {
    "dinov2": Family(dinov2, 5, 4),
    "vit": Family(vit, 1, 4),
    "siglip": Family(siglip, 0, 1),  # it pools its tokens
    "resnet": Family(resnet, 0, 4),
}


def save_preset(folder: Path, backbone: Backbone) -> str:
    """Save a backbone with random weights, and how it scales pixels; return its name for params.yaml."""
    random = np.random.default_rng(0)
    for weight in backbone.trainable_weights:
        weight.assign(weight + random.normal(0, 0.05, weight.shape))
    backbone.save_to_preset(folder)
    converter = getattr(keras_hub.layers, type(backbone).__name__.replace("Backbone", "ImageConverter"))
    converter(scale=SCALE, offset=OFFSET).save_to_preset(folder)
    return f"hub:{folder}"


def build(name: str, size: int = SIZE) -> keras.Model:
    return registry.build_backbone(name, weights.fetch(name, "imagenet"), size)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("presets")
    return {family: save_preset(folder / family, known.make()) for family, known in FAMILIES.items()}


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype(np.float32)


def run_original(name: str, pixels: NDArray[np.float32], **shape: object) -> NDArray[np.float32]:
    """What keras-hub itself returns for photos: its converter, then its backbone."""
    backbone = keras_hub.models.Backbone.from_preset(name.removeprefix("hub:"), **shape)
    backbone = getattr(backbone, "vision_encoder", backbone)
    scaled = keras_hub.layers.ImageConverter.from_preset(name.removeprefix("hub:"))(pixels)
    return np.asarray(backbone(keras.tree.map_structure(lambda _: scaled, backbone.input)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_on_raw_pixels_returns_what_keras_hub_returns_for_converted_ones(
    family: str, names: dict[str, str], pixels: NDArray[np.float32], tmp_path: Path
) -> None:
    known, expected = FAMILIES[family], run_original(names[family], pixels)
    if expected.ndim == 3:
        expected = expected[:, known.tokens :]
    expected = expected.reshape(2, known.grid, known.grid, -1)
    network = build(names[family])
    assert expected.std() > 1e-3
    np.testing.assert_allclose(network(pixels), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    with pytest.raises(SmallsetError, match="is a single block"):
        registry.split_at(network, names[family], "auto")
    features = registry.feature_network(names[family], weights.fetch(names[family], "imagenet"), SIZE)
    assert features.output_shape == (None, 2 * expected.shape[-1])
    inputs = keras.Input((features.output_shape[1],))
    head = keras.Model(inputs, probability_layer(3)(inputs), name="head")
    classifier = Classifier(transfer.compose([], [features, head]), ("a", "b", "c"))
    classifier.save(tmp_path / "model.keras")
    loaded = Classifier.load(tmp_path / "model.keras").network
    actual = engine.compile_network(loaded)(pixels)
    np.testing.assert_allclose(actual, classifier.network(pixels), rtol=1e-3, atol=1e-4)


def test_at_another_size_dinov2_stretches_its_positions_as_keras_hub_does(names: dict[str, str]) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    expected = run_original(names["dinov2"], pixels, image_shape=(96, 96, 3))[:, 5:].reshape(2, 6, 6, -1)
    np.testing.assert_allclose(build(names["dinov2"], 96)(pixels), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("family", "size"), [("vit", 96), ("vit", 90), ("dinov2", 9)])
def test_a_size_that_does_not_fit_is_an_error(family: str, size: int, names: dict[str, str]) -> None:
    message = f"params.yaml: image_size: {names[family]} does not take {size} px"
    with pytest.raises(SmallsetError, match=re.escape(message)):
        build(names[family], size)


def test_a_preset_that_cannot_be_read_is_an_error_with_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match=r"hub:dinov2_smal: .* no such preset .* Did you mean 'dinov2_small'\?"):
        weights.fetch("hub:dinov2_smal", "imagenet")
    with pytest.raises(SmallsetError, match="hub:./nowhere: .* no such folder. Names are listed at https"):
        weights.fetch("hub:./nowhere", None)
    vit().save_to_preset(tmp_path / "bare")
    with pytest.raises(SmallsetError, match="hub:.*bare: expected a preset with an ImageConverter"):
        build(f"hub:{tmp_path}/bare")
    bert = {"vocabulary_size": 8, "num_layers": 1, "num_heads": 1, "hidden_dim": 4, "intermediate_dim": 4}
    keras_hub.models.BertBackbone(**bert).save_to_preset(tmp_path / "bert")
    with pytest.raises(SmallsetError, match="expected a backbone for images, found BertBackbone"):
        weights.fetch(f"hub:{tmp_path}/bert", None)

    def fail(*_: object, **__: object) -> None:
        raise OSError("first line\nno route to host.")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", fail)
    with pytest.raises(
        SmallsetError, match="hub:dinov2_small: keras-hub cannot read it: no route to host. If .*folder$"
    ):
        weights.fetch("hub:dinov2_small", "imagenet")
