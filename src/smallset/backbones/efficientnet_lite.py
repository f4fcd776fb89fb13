"""EfficientNet-Lite: EfficientNets without squeeze-and-excite and with ReLU6, made for small processors.

Tan & Le 2019, arXiv:1905.11946, and efficientnet/lite/efficientnet_lite_builder.py in github.com/tensorflow/tpu. Each
batch normalization is folded into the kernel before it, since a pretrained one is never trained here: the same outputs,
half as fast again, and trained nearly twice as fast.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

STEM, HEAD = 32, 1280  # filters; neither is scaled in this family
DIVISOR = 8  # of every number of filters
EPSILON = 1e-3  # of the batch normalizations, below the root
SMALLEST = 32  # px, as of Keras's own EfficientNets: of less, the five halvings leave no grid
# tensorflow/tpu's: a deviation of the square root of 2 / (height * width * filters)
INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}

Shape = tuple[int | None, int | None, int] | None  # of one photo; None: any
Activation = Callable[[keras.KerasTensor], keras.KerasTensor]


class Scale(NamedTuple):
    """How much wider and deeper than Lite0 a network is, and the side of the photos that it was trained on."""

    width: float
    depth: float
    side: int  # px


NETWORKS = {
    "EfficientNetLite0": Scale(1.0, 1.0, 224),
    "EfficientNetLite1": Scale(1.0, 1.1, 240),
    "EfficientNetLite2": Scale(1.1, 1.2, 260),
}


class Stage(NamedTuple):
    """Blocks one after the other, of which the first has the stride and sets the number of filters."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (  # of Lite0
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def network(name: str, input_shape: Shape = None, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """Map (n, side, side, 3) RGB pixels in 0..255 to (n, h, w, 1280) in 0..6, h and w being side / 32, rounded up.

    No top, and random weights: of Lite0 3,350,000 in 98 tensors, of Lite1 4,108,848 and of Lite2 4,782,024 in 128.
    The arguments are those of keras.applications.
    """
    pixels = keras.Input(input_shape or (None, None, 3)) if input_tensor is None else input_tensor
    if pixels.shape[1] is not None and pixels.shape[1] < SMALLEST:
        raise ValueError(f"expected {SMALLEST} px or more")
    x = layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(pixels)
    x = convolution(STEM, 3, 2, "stem_conv")(x)
    for number, stage in enumerate(STAGES, start=1):
        scaled = stage_of(stage, NETWORKS[name], ends=number in (1, len(STAGES)))
        for index in range(scaled.blocks):
            x = block(x, scaled, f"block{number}{chr(ord('a') + index)}_", first=index == 0)
    x = convolution(HEAD, 1, 1, "top_conv")(x)
    return keras.Model(pixels, x, name=name.lower())


def stage_of(stage: Stage, scale: Scale, *, ends: bool) -> Stage:
    """Lite0's stage at another scale. ends: it is the first or the last, which keep their depth."""
    wanted = stage.filters * scale.width
    filters = max(DIVISOR, int(wanted + DIVISOR / 2) // DIVISOR * DIVISOR)
    if filters < 0.9 * wanted:  # rounding takes no more than a tenth
        filters += DIVISOR
    return stage._replace(filters=filters, blocks=stage.blocks if ends else math.ceil(stage.blocks * scale.depth))


def block(x: keras.KerasTensor, stage: Stage, prefix: str, *, first: bool) -> keras.KerasTensor:
    """An inverted bottleneck: (n, h, w, c) is widened, filtered depthwise, narrowed to `filters`, and added."""
    inputs, channels = x, x.shape[-1]
    if stage.expansion != 1:
        x = convolution(channels * stage.expansion, 1, 1, f"{prefix}expand_conv")(x)
    stride = stage.stride if first else 1
    x = layers.DepthwiseConv2D(
        stage.kernel,
        stride,
        padding="same",
        activation=keras.activations.relu6,
        depthwise_initializer=INITIALIZER,
        name=f"{prefix}dwconv",
    )(x)
    x = convolution(stage.filters, 1, 1, f"{prefix}project_conv", activation=None)(x)
    alike = stride == 1 and channels == stage.filters
    return layers.Add(name=f"{prefix}add")([x, inputs]) if alike else x


def convolution(
    filters: int,
    kernel: int,
    stride: int,
    name: str,
    activation: Activation | None = keras.activations.relu6,
) -> layers.Layer:
    """With ReLU6, values in 0..6, but for the narrowing ones.

    padding: TensorFlow's "same", as the networks were trained with; where the stride is 2 it is a pixel more below and
    on the right than above and on the left.
    """
    return layers.Conv2D(
        filters, kernel, stride, padding="same", activation=activation, kernel_initializer=INITIALIZER, name=name
    )


def from_torch(state: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
    """The tensors of `network` from a saved state of efficientnet_lite_pytorch, of each convolution two.

    There a kernel, (out, in, h, w) or depthwise (c, 1, h, w), is followed by its batch normalization: scale, shift,
    mean, variance. Folded: (kernel * x - mean) * scale / deviation + shift.
    """
    own = [name for name in state if not name.startswith("_fc.") and not name.endswith(".num_batches_tracked")]
    tensors: list[NDArray[np.float32]] = []
    for name, *normalization in zip(*[iter(own)] * 5, strict=True):
        scale, shift, mean, variance = (state[one].astype(np.float64) for one in normalization)
        factor = scale / np.sqrt(variance + EPSILON)
        kernel = state[name].astype(np.float64) * factor[:, None, None, None]
        order = (2, 3, 0, 1) if "_depthwise_conv" in name else (2, 3, 1, 0)
        folded = (kernel.transpose(order), shift - mean * factor)
        tensors += [np.ascontiguousarray(tensor, np.float32) for tensor in folded]
    return tensors
