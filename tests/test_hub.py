"""Backbones of keras-hub, small and random, from a preset's folder to a saved model, its predictions and heat maps."""

import csv
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

from smallset.backbones import hub, opening, registry, weights
from smallset.cli import app, exporting
from smallset.datasets import lists
from smallset.images import batches
from smallset.models import engine, model_file
from smallset.pipeline.errors import SmallsetError
from smallset.reports import gradcam
from smallset.training import linear_probe, transfer

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
    return keras_hub.models.DINOV3Backbone(**PATCHES | {"intermediate_dim": 32})


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
        stackwise_num_filters=[64, 8, 8, 16],
        stackwise_num_blocks=[1, 1, 2, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
    )


def efficientnet(kind: str = "v1") -> Backbone:
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
    "efficientnet": Family(efficientnet, 0, 4, "block3b_add", True),
    "swin": Family(swin, 0, 4, "grid", False),  # in one piece
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
    return registry.build(name, weights.fetch(name, "imagenet"), size)


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
    found = np.asarray(base(pixels))
    assert found.shape == (2, known.grid, known.grid, expected.shape[-1])
    assert found.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_top_after_trunk_is_the_base_and_both_are_saved(
    family: str, bases: dict[str, tuple[str, keras.Model]], pixels: NDArray[np.float32], tmp_path: Path
) -> None:
    (name, base), known = bases[family], FAMILIES[family]
    assert registry.end_of_trunk(base, name).endswith(known.end)
    parts = registry.split(base, name, None)
    assert [len(part.output_shape) for part in parts] == [4, 4]
    assert sum(part.count_params() for part in parts) == base.count_params()
    assert bool(parts[1].weights) == (family != "swin")
    for part in parts:
        model_file.save(part, tmp_path / f"{part.name}.keras")
    trunk, top = (model_file.load(tmp_path / f"{part}.keras") for part in ("trunk", "top"))
    found = engine.compiled(top)(engine.compiled(trunk)(pixels))
    np.testing.assert_allclose(found, base(pixels), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def whole(
    bases: dict[str, tuple[str, keras.Model]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, keras.Model]]:
    """Of each family the file of a model with a head, as the pipeline joins and saves it, and the model."""
    folder, found = tmp_path_factory.mktemp("models"), {}
    for family, (name, base) in bases.items():
        trunk, top = registry.split(base, name, None)
        model = transfer.join([trunk], [top, linear_probe.unsolved(top.output_shape[1:], 3)])
        model_file.save(model, folder / f"{family}.keras", ("a", "b", "c"))
        found[family] = folder / f"{family}.keras", model
    return found


def test_a_saved_model_needs_no_smallset_and_keras_hub_for_its_own_layers_alone(
    whole: dict[str, tuple[Path, keras.Model]], pixels: NDArray[np.float32], tmp_path: Path
) -> None:
    np.save(tmp_path / "pixels.npy", pixels)
    script = (
        "import sys, keras, numpy as np;"
        "[np.save(path + '.npy', keras.saving.load_model(path)(np.load('pixels.npy'))) for path in sys.argv[2:]];"
        "assert 'smallset' not in sys.modules;"
        "assert ('keras_hub' in sys.modules) == (sys.argv[1] == 'hub')"
    )
    for needs, of_keras in (("keras", True), ("hub", False)):
        paths = [str(path) for family, (path, _) in whole.items() if FAMILIES[family].of_keras == of_keras]
        subprocess.run([sys.executable, "-c", script, needs, *paths], cwd=tmp_path, check=True, capture_output=True)
    for path, model in whole.values():
        found = np.load(f"{path}.npy")
        assert found.std() > 1e-3
        np.testing.assert_allclose(found, model(pixels, training=False), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_predicts_and_explains(
    family: str, whole: dict[str, tuple[Path, keras.Model]], drawn: lists.Photos, tmp_path: Path
) -> None:
    path, model = whole[family]
    photo, picture = drawn.paths()[0], tmp_path / "heat.png"
    done = CliRunner().invoke(app.app, ["predict", str(path), photo])
    assert done.exit_code == 0, done.output
    row = next(csv.DictReader(done.stdout.splitlines()))
    resized = batches.pixels(drawn.at(np.array([0])), SIDE)
    probabilities = np.asarray(model(resized, training=False))[0]
    assert row["label"] == "abc"[probabilities.argmax()]
    assert float(row["probability"]) == pytest.approx(probabilities.max(), rel=1e-3)
    done = CliRunner().invoke(app.app, ["explain", str(path), photo, "--output", str(picture)])
    assert done.exit_code == 0, done.output
    assert picture.is_file()
    maps = [gradcam.heatmap(model_file.load(path), resized, label).values for label in range(3)]
    assert maps[0].shape == (FAMILIES[family].grid,) * 2
    assert np.max(maps) == 1


def test_a_trained_top_leaves_the_normalisation_inside_of_blocks_as_it_is(
    pixels: NDArray[np.float32], tmp_path: Path
) -> None:
    name = saved(tmp_path / "efficientnet", efficientnet("fused"))
    trunk, top = registry.split(built(name), name, None)
    assert not [layer for layer in top.layers if layer.name.startswith("block") and layer.name.endswith("bn")]
    transfer.join([trunk], [top])
    before = [weight.numpy() for weight in top.non_trainable_weights]
    top.compile("sgd", "mse")
    top.fit(trunk(pixels), np.asarray(top(trunk(pixels))) + 1, verbose=0)
    assert before
    assert all(np.array_equal(a, b) for a, b in zip(before, top.non_trainable_weights, strict=True))
    assert any("block" in weight.path for weight in top.trainable_weights)


def test_for_another_side_positions_are_stretched_as_keras_hub_does(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    for antialias in (False, True):
        name = saved(tmp_path / f"{antialias}", dinov2(antialias_in_interpolation=antialias))
        expected = of_hub(name, pixels, image_shape=(96, 96, 3))[:, 5:].reshape(2, 6, 6, -1)
        np.testing.assert_allclose(built(name, 96)(pixels), expected, rtol=1e-3, atol=1e-4)
    name = saved(tmp_path / "vit", vit())
    assert built(name, 96)(pixels).shape == (2, 6, 6, 16)


def test_stretched_positions_keep_the_class_token_and_what_is_the_same_everywhere() -> None:
    added = np.concatenate([[[9.0, 8.0]], np.tile([1.0, -2.0], (16, 1))]).astype(np.float32)
    assert opening.stretched(added, 1, 4, False) is added
    for antialias in (False, True):
        found = opening.stretched(added, 1, 7, antialias)
        expected = np.concatenate([added[:1], np.tile(added[1], (49, 1))])
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "side", "message"),
    [
        ("vit", 90, "does not take photos of 90 px: expected a multiple of its patch of 16 px, as 80 or 96"),
        ("dinov2", 9, "does not take photos of 9 px: expected a multiple of its patch of 16 px, as 16 or 32"),
        ("swin", 60, "takes photos of 64 px alone, not of 60 px"),
    ],
)
def test_a_side_that_does_not_fit_is_named_with_those_that_do(
    family: str, side: int, message: str, bases: dict[str, tuple[str, keras.Model]]
) -> None:
    with pytest.raises(SmallsetError, match=f"params.yaml: image: side, larger: side: hub:.*{family} {message}"):
        built(bases[family][0], side)


def test_a_preset_that_is_not_there_is_named_with_the_way_to_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SmallsetError, match=r"hub:dinov2_smal: .* no preset .* Did you mean 'dinov2_small'[?] Names"):
        weights.fetch("hub:dinov2_smal", "imagenet")
    with pytest.raises(SmallsetError, match="hub:./nowhere: .* there is no such folder. Names are listed at https"):
        weights.fetch("hub:./nowhere", None)

    def offline(*_: object, **__: object) -> None:
        raise OSError("first line\nno route to host.")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", offline)
    with pytest.raises(SmallsetError, match="hub:dinov2_small cannot be read: no route to host. If .* hub:./folder$"):
        weights.fetch("hub:dinov2_small", "imagenet")


def test_a_preset_for_texts_or_without_its_scale_is_refused(tmp_path: Path) -> None:
    bert = {"vocabulary_size": 8, "num_layers": 1, "num_heads": 1, "hidden_dim": 4, "intermediate_dim": 4}
    keras_hub.models.BertBackbone(**bert).save_to_preset(tmp_path / "bert")
    with pytest.raises(SmallsetError, match="a backbone for images; found BertBackbone, which takes .*token_ids"):
        weights.fetch(f"hub:{tmp_path}/bert", None)
    vit().save_to_preset(tmp_path / "bare")
    with pytest.raises(SmallsetError, match="hub:.*bare: the preset does not say how pixels are scaled: .*image_conv"):
        built(f"hub:{tmp_path}/bare")


def test_weights_may_come_from_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    name = saved(folder, vit())
    expected = weights.fetch(name, "imagenet")
    (folder / "model.weights.h5").rename(tmp_path / "mine.weights.h5")
    found = weights.fetch(name, str(tmp_path / "mine.weights.h5"))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    with pytest.raises(SmallsetError, match="hub:.*vit cannot be read: "):
        weights.fetch(name, "imagenet")


@pytest.mark.slow
@pytest.mark.parametrize(("family", "to"), [("dinov2", "onnx"), ("vit", "litert"), ("resnet", "savedmodel")])
def test_a_saved_model_is_exported(
    family: str, to: exporting.Format, whole: dict[str, tuple[Path, keras.Model]], tmp_path: Path
) -> None:
    target = tmp_path / f"model{exporting.ENDINGS[to]}"
    assert "largest difference from Keras" in exporting.export(whole[family][0], to, target, None, False)
    assert target.exists()
