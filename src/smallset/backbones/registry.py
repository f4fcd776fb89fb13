"""Pretrained convolutional bases, each cut in two: a trunk that stays frozen, and a top.

They are those of keras.applications and the EfficientNet-Lites, whose names params.BASES has, and of keras-hub.
"""

import re
import sys
from typing import TypeVar

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from smallset.backbones import cutting, efficientnet_lite, hub
from smallset.backbones.efficientnet_lite import Shape
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.params import HUB

Pixels = TypeVar("Pixels")  # an array or a Keras tensor

# The layer at which a base is cut, the last one of such a name: the end of its last stage but one. In VGG16 the block
# above costs 8.8 % of the base, so that cached trunk outputs make fine-tuning 4.9 times cheaper.
CUTS = {
    r"VGG\d+": r"block4_pool",
    r"ResNet\d+(V2)?": r"conv4_block\d+_out",
    r"DenseNet\d+": r"pool4_pool",
    r"InceptionV3": r"mixed7",
    r"InceptionResNetV2": r"block17_20_ac",
    r"Xception": r"add(_\d+)?",
    r"MobileNet": r"conv_pw_11_relu",
    r"MobileNetV2": r"block_12_add",
    r"MobileNetV3Small": r"expanded_conv_7_add",
    r"MobileNetV3Large": r"expanded_conv_11_add",
    r"EfficientNetB\d": r"block5\w_add",
    r"EfficientNetLite\d": r"block5\w_add",
    r"EfficientNetV2\w+": r"block5\w_add",
    r"ConvNeXt\w+": r".*_downsampling_block_2",
    r"NASNet\w+": r"normal_concat_\d+",  # each cell has two inputs: only the last activation lies above a cut
}


def plain(
    name: str, input_shape: Shape = None, input_tensor: keras.KerasTensor | None = None, weights: str | None = None
) -> keras.Model:
    """A base as keras.applications calls it: no top, random weights, and most often without its preprocessing.

    Of keras-hub, as its preset has it: `weights` are the preset's or random, and the shape is its own.
    """
    if name.startswith(HUB):
        return hub.backbone(name, pretrained=weights is not None)
    if name in efficientnet_lite.NETWORKS:
        return efficientnet_lite.network(name, input_shape, input_tensor)
    build = getattr(keras.applications, name)
    return build(weights=weights, include_top=False, input_shape=input_shape, input_tensor=input_tensor)


def preprocess(name: str, pixels: Pixels) -> Pixels:
    """What `plain(name)` is to be given for RGB pixels (n, h, w, 3) in 0..255."""
    if name in efficientnet_lite.NETWORKS:
        return pixels  # scaled inside
    return sys.modules[getattr(keras.applications, name).__module__].preprocess_input(pixels)


def build(name: str, tensors: list[NDArray[np.float32]], size: int) -> keras.Model:
    """Map (n, size, size, 3) RGB pixels in 0..255 to features (n, h, w, c); VGG16 at 180 px to (n, 5, 5, 512).

    The base's own preprocessing is inside, so that nothing that holds the base can forget it.
    tensors: values in the order of `plain(name).weights`; VGG16 has 14,714,688 in 26 tensors.
    """
    if name.startswith(HUB):
        return hub.build(name, tensors, size)
    pixels = keras.Input((size, size, 3), name="pixels")
    try:
        model = plain(name, input_tensor=preprocess(name, pixels))
    except ValueError as error:
        raise SmallsetError(f"params.yaml: image: side: {name} does not take photos of {size} px: {error}") from None
    model.set_weights(tensors)
    return keras.Model(pixels, model.output, name="base")


def split(base: keras.Model, name: str, cut: str | None) -> tuple[keras.Model, keras.Model]:
    """Cut a base into (trunk, top): top(trunk(pixels)) is base(pixels), with the same weights.

    cut: the layer whose output the trunk ends with; None: the one that `end_of_trunk` has for a base of that name.
    """
    names = [layer.name for layer in base.layers[1:]]
    at = cut or end_of_trunk(base, name)
    if at not in names:
        raise SmallsetError(f"params.yaml: base: cut: {name} has no layer {cut!r}. It has: {', '.join(names)}")
    activations = base.get_layer(at).output
    try:
        top = keras.Model(activations, base.output, name="top")
    except ValueError:
        raise SmallsetError(
            f"params.yaml: base: cut: what follows {at!r} in {name} needs more than its output. "
            f"Choose the end of a block."
        ) from None
    trunk = keras.Model(base.input, activations, name="trunk")
    return between_maps(trunk, top) if len(activations.shape) == 3 else (trunk, top)


def end_of_trunk(base: keras.Model, name: str) -> str:
    """The layer at which a base is cut unless params say otherwise."""
    if name.startswith(HUB):
        return cutting.end_of_trunk(base)
    pattern = next(at for family, at in CUTS.items() if re.fullmatch(family, name))
    return [layer.name for layer in base.layers if re.fullmatch(pattern, layer.name)][-1]


def between_maps(trunk: keras.Model, top: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Trunk and top that hand over tokens (n, t, c) as a map (n, 1, t, c), which is what caches hold."""
    tokens = trunk.output_shape[1:]
    row = keras.Input((1, *tokens))
    trunk = keras.Model(trunk.input, layers.Reshape((1, *tokens))(trunk.output), name="trunk")
    return trunk, keras.Model(row, top.call(layers.Reshape(tokens)(row)), name="top")
