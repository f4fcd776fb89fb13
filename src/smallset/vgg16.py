"""VGG16's convolutional base (Simonyan & Zisserman 2015), cut in two: a trunk that stays frozen and a top."""

from pathlib import Path

import keras
from keras import layers, ops

from smallset.errors import SmallsetError

CUT = "block4_pool"  # block5 above it costs 8.8 % of the base: cached trunk outputs make fine-tuning 4.9 times cheaper
MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet, 0..255: keras.applications.vgg16.preprocess_input


def plain() -> keras.Model:
    """VGG16 without its top, for any size, as keras.applications has it: random weights, no preprocessing."""
    return keras.applications.VGG16(weights=None, include_top=False)


def base(weights: Path, size: int) -> keras.Model:
    """Map (n, size, size, 3) RGB pixels in 0..255 to features (n, size // 32, size // 32, 512).

    14,714,688 weights in 26 tensors. The preprocessing is inside, so nothing that holds this base can forget it.
    weights: a .weights.h5 of `plain`.
    """
    pixels = keras.Input((size, size, 3), name="pixels")
    bgr = layers.Rescaling(1.0, offset=[-mean for mean in MEAN_BGR], name="minus_mean")(ops.flip(pixels, axis=-1))
    model = keras.applications.VGG16(weights=None, include_top=False, input_tensor=bgr)
    try:
        model.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        raise SmallsetError(f"{weights}: not a .weights.h5 of VGG16 without its top: {error}") from None
    return model


def split(whole: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut the base at block4_pool into (trunk, top): top(trunk(pixels)) is whole(pixels), with the same weights."""
    cut = whole.get_layer(CUT)
    trunk = keras.Model(whole.input, cut.output, name="trunk")
    features = x = keras.Input(cut.output.shape[1:], name="activations")
    for layer in whole.layers[whole.layers.index(cut) + 1 :]:
        x = layer(x)
    return trunk, keras.Model(features, x, name="top")
