"""EfficientNet-Lite: EfficientNets without squeeze-and-excite and with ReLU6, made for small processors.

Tan & Le 2019, arXiv:1905.11946, and efficientnet/lite/efficientnet_lite_builder.py in github.com/tensorflow/tpu. Each
batch normalization is folded into the kernel before it, because a pretrained one is never trained here: the outputs are
the same, and inference takes two thirds of the time.
"""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

STEM, TOP = 32, 1280  # filters, which do not depend on the network's width
DIVISOR = 8  # of every number of filters
EPSILON = 1e-3  # below the root of the batch normalizations
MIN_SIZE = 32  # px: the network halves the grid five times
INITIALIZER = {  # tensorflow/tpu's: a deviation of the square root of 2 / (height * width * filters)
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}
SCALES = {  # how much wider and deeper than Lite0 a network is
    "EfficientNetLite0": (1.0, 1.0),
    "EfficientNetLite1": (1.0, 1.1),
    "EfficientNetLite2": (1.1, 1.2),
}


STAGES = (  # of Lite0: blocks, kernel, stride of the first block, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def create(name: str, _: bool = False, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """Map (n, s, s, 3) RGB pixels in 0..255 to (n, h, w, 1280) in 0..6, where h and w are s / 32, rounded up.

    The weights are random: 3,350,000 in 98 tensors for Lite0, and in 128 tensors 4,108,848 for Lite1 and 4,782,024 for
    Lite2.
    """
    pixels = keras.Input((None, None, 3)) if input_tensor is None else input_tensor
    if pixels.shape[1] is not None and pixels.shape[1] < MIN_SIZE:
        raise ValueError(f"expected {MIN_SIZE} px or more")
    x = layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(pixels)
    x = _convolve(x, STEM, 3, 2, "stem_conv")
    width, depth = SCALES[name]
    for number, (blocks, kernel, stride, expansion, filters) in enumerate(STAGES, start=1):
        scaled = blocks if number in (1, len(STAGES)) else math.ceil(blocks * depth)
        for index in range(scaled):
            prefix = f"block{number}{chr(ord('a') + index)}_"
            x = _add_block(x, kernel, 1 if index else stride, expansion, _round(filters * width), prefix)
    return keras.Model(pixels, _convolve(x, TOP, 1, 1, "top_conv"), name=name.lower())


def preprocess(_: str, pixels: Any) -> Any:  # noqa: ANN401 - an array or a Keras tensor
    """The pixels as they are: the network scales them."""
    return pixels


def _round(filters: float) -> int:
    """The nearest multiple of DIVISOR, or the next one when that removes more than a tenth."""
    rounded = max(DIVISOR, int(filters + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded if rounded >= 0.9 * filters else rounded + DIVISOR


def _add_block(
    x: keras.KerasTensor, kernel: int, stride: int, expansion: int, filters: int, prefix: str
) -> keras.KerasTensor:
    """An inverted bottleneck: (n, h, w, c) is widened, filtered depthwise, narrowed to `filters`, and added."""
    inputs, channels = x, x.shape[-1]
    if expansion != 1:
        x = _convolve(x, channels * expansion, 1, 1, f"{prefix}expand_conv")
    options: dict[str, Any] = {"padding": "same", "activation": keras.activations.relu6, "name": f"{prefix}dwconv"}
    x = layers.DepthwiseConv2D(kernel, stride, depthwise_initializer=INITIALIZER, **options)(x)
    x = _convolve(x, filters, 1, 1, f"{prefix}project_conv", activation=None)
    return layers.Add(name=f"{prefix}add")([x, inputs]) if stride == 1 and channels == filters else x


def _convolve(
    x: keras.KerasTensor,
    filters: int,
    kernel: int,
    stride: int,
    name: str,
    activation: Any = keras.activations.relu6,  # noqa: ANN401 - a function of a Keras tensor, or None
) -> keras.KerasTensor:
    options: dict[str, Any] = {"padding": "same", "activation": activation, "kernel_initializer": INITIALIZER}
    return layers.Conv2D(filters, kernel, stride, name=name, **options)(x)


def convert_torch(state: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
    """The tensors of `create` from a state of efficientnet_lite_pytorch: two for each convolution.

    In the state a kernel, (out, in, h, w) or depthwise (c, 1, h, w), is followed by the scale, shift, mean and variance
    of its batch normalization. Folded: (kernel * x - mean) * scale / deviation + shift.
    """
    names = [name for name in state if not name.startswith("_fc.") and not name.endswith(".num_batches_tracked")]
    tensors: list[NDArray[np.float32]] = []
    for name, *normalization in zip(*[iter(names)] * 5, strict=True):
        scale, shift, mean, variance = (state[key].astype(np.float64) for key in normalization)
        factor = scale / np.sqrt(variance + EPSILON)
        kernel = state[name].astype(np.float64) * factor[:, None, None, None]
        order = (2, 3, 0, 1) if "_depthwise_conv" in name else (2, 3, 1, 0)
        tensors += [np.ascontiguousarray(x, np.float32) for x in (kernel.transpose(order), shift - mean * factor)]
    return tensors
