"""Backbones of keras-hub, small and random, from a preset's folder to a saved model, its predictions and heat maps."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from smallset.bases import applications, hub, weights
from smallset.networks import models, saving
from smallset.photos import lists
from smallset.pipeline.errors import SmallsetError
from smallset.tools import cli, exporting
from smallset.training import pooling, transfer

keras_hub = pytest.importorskip("keras_hub", reason='needs the extra: pip install -e ".[hub]"')

pytestmark = pytest.mark.filterwarnings("ignore:Layer 'attn' .* was passed an input with a mask")  # Swin's own

SIDE = 64
SCALE, OFFSET = [1 / 60, 1 / 70, 1 / 80], [-2.1, -1.9, -1.7]
BLOCKS = {"num_layers": 4, "num_heads": 2, "hidden_dim": 16}
PATCHES = {"image_shape": (SIDE, SIDE, 3), "patch_size": 16} | BLOCKS
Backbone = Any


def dinov2(**changes: object) -> Backbone:
    known = {"intermediate_dim": 32, "position_embedding_shape": (SIDE, SIDE, 3), "num_register_tokens": 4}
    return keras_hub.models.DINOV2Backbone(**PATCHES | known | changes)


def dinov3() -> Backbone:
    return keras_hub.models.DINOV3Backbone(**PATCHES, intermediate_dim=32)


def vit() -> Backbone:
    return keras_hub.models.ViTBackbone(**PATCHES, mlp_dim=32, use_patch_bias=False)


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
        stackwise_num_filters=[64, 8, 8, 16],
        stackwise_num_blocks=[1, 1, 2, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
    )


def efficientnet(kind: str = "unfused") -> Backbone:
    return keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 4,
        stackwise_depth_coefficients=[1.0] * 4,
        stackwise_kernel_sizes=[3] * 4,
        stackwise_num_repeats=[1, 2, 2, 2],
        stackwise_input_filters=[8, 8, 8, 16],
        stackwise_output_filters=[8, 8, 16, 16],
        stackwise_expansion_ratios=[1, 4, 4, 4],
        stackwise_squeeze_and_excite_ratios=[0.25] * 4,
        stackwise_strides=[1, 2, 2, 2],
        stackwise_block_types=[kind] * 4,
    )


def swin() -> Backbone:
    return keras_hub.models.SwinTransformerBackbone(
        image_shape=(SIDE, SIDE, 3), embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 2], window_size=2
    )


class Family(NamedTuple):
    make: Callable[[], Backbone]
    extra: int  # tokens before those of the patches
    grid: int
    end: str  # of the trunk
    of_keras: bool  # whether its file needs no keras-hub


FAMILIES = {
    "dinov2": Family(dinov2, 5, 4, "encoder_layers_2", False),
    "dinov3": Family(dinov3, 5, 4, "encoder_layers_2", False),
    "vit": Family(vit, 1, 4, "vit_encoder_transformer_block_3", True),
    "siglip": Family(siglip, 0, 4, "encoder_block_2", False),
    "resnet": Family(resnet, 0, 2, "stack2_block1_out", True),
    "efficientnet": Family(efficientnet, 0, 4, "block3b_", True),
    "swin": Family(swin, 0, 4, "reshape", False),  # in one piece
}


def saved(folder: Path, backbone: Backbone) -> str:
    """The base's name of a preset's folder: a backbone, its weights away from their first values, and a converter."""
    random = np.random.default_rng(0)
    for weight in backbone.trainable_weights:
        weight.assign(weight + random.normal(0, 0.05, weight.shape))
    backbone.save_to_preset(folder)
    converter = getattr(keras_hub.layers, type(backbone).__name__.replace("Backbone", "ImageConverter"))
    converter(scale=SCALE, offset=OFFSET).save_to_preset(folder)
    return f"hub:{folder}"


def built(name: str, size: int = SIDE) -> keras.Model:
    return applications.build(name, weights.fetch(name, "imagenet"), size)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, keras.Model]]:
    """The name of a base of each family, and the base."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("presets")
    names = {family: saved(folder / family, known.make()) for family, known in FAMILIES.items()}
    return {family: (name, built(name)) for family, name in names.items()}


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)


def of_hub(name: str, pixels: NDArray[np.float32], **shape: object) -> NDArray[np.float32]:
    """What keras-hub itself gives for photos: its converter, then its backbone, of SigLIP without the pooling head."""
    backbone = keras_hub.models.Backbone.from_preset(hub.place(name), **shape)
    scaled = keras_hub.layers.ImageConverter.from_preset(hub.place(name))(pixels)
    if isinstance(backbone, keras_hub.models.SigLIPBackbone):
        backbone = backbone.vision_encoder
        backbone = keras.Model(backbone.inputs, backbone.layers[-2].output)
    return np.asarray(backbone(keras.tree.map_structure(lambda _: scaled, backbone.input)))


@pytest.mark.parametrize("family", FAMILIES)
def test_raw_pixels_give_what_keras_hub_gives_for_converted_ones(
    family: str, bases: dict[str, tuple[str, keras.Model]], pixels: NDArray[np.float32]
) -> None:
    (name, base), known = bases[family], FAMILIES[family]
    expected = of_hub(name, pixels)
    if expected.ndim == 3:
        assert expected.shape[1] == known.extra + known.grid**2
        expected = expected[:, known.extra :].reshape(2, known.grid, known.grid, -1)
    found = base.predict(pixels, verbose=0)
    assert found.shape == (2, known.grid, known.grid, expected.shape[-1])
    assert found.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_top_after_trunk_is_the_base_and_both_are_saved(
    family: str, bases: dict[str, tuple[str, keras.Model]], pixels: NDArray[np.float32], tmp_path: Path
) -> None:
    (name, base), known = bases[family], FAMILIES[family]
    assert known.end in applications.end_of_trunk(base, name)
    parts = applications.split(base, name, None)
    assert [len(part.output_shape) for part in parts] == [4, 4]
    assert sum(part.count_params() for part in parts) == base.count_params()
    assert bool(parts[1].weights) == (family != "swin")
    for part in parts:
        saving.save(part, tmp_path / f"{part.name}.keras")
    trunk, top = (saving.load(tmp_path / f"{part}.keras") for part in ("trunk", "top"))
    found = top.predict(trunk.predict(pixels, verbose=0), verbose=0)
    np.testing.assert_allclose(found, base.predict(pixels, verbose=0), rtol=1e-4, atol=1e-5)
