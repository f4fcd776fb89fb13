"""The backbones of keras.applications."""

import sys
from typing import Any

import keras


def create(name: str, pretrained: bool, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """A network without its top layers, for preprocessed pixels of any size, or for the input tensor."""
    build = getattr(keras.applications, name)
    return build(weights="imagenet" if pretrained else None, include_top=False, input_tensor=input_tensor)


def preprocess(name: str, pixels: Any) -> Any:  # noqa: ANN401 - an array or a Keras tensor
    """What that network expects for RGB pixels (n, h, w, 3) in 0..255."""
    return sys.modules[getattr(keras.applications, name).__module__].preprocess_input(pixels)
