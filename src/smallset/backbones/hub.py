"""Image backbones of keras-hub, by the name of a preset, hub:dinov2_small, or by its folder, hub:./folder.

keras-hub is the extra `hub`; it is imported when such a backbone is built.
"""

import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from smallset.backbones.registry import HUB, Tensors
from smallset.pipeline import install
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.params import suggest

LIST = "Names are listed at https://keras.io/keras_hub/presets"


def create(name: str, pretrained: bool, input_tensor: keras.KerasTensor | None = None) -> keras.Model:
    """A preset's backbone; of one for images and texts, the part for images.

    For an input tensor (n, s, s, 3) it returns feature maps (n, h, w, c). Tokens of patches become a grid; those of the
    class and of registers are left out. A backbone that pools its maps gives (n, 1, 1, c).
    """
    library = _import_library(name)
    try:
        network = library.models.Backbone.from_preset(_locate(name), load_weights=pretrained)
    except Exception as error:  # noqa: BLE001 - errors of keras-hub, kagglehub and huggingface_hub
        raise SmallsetError(f"{name}: {_explain(library, _locate(name), error)}") from None
    network = getattr(network, "vision_encoder", None) or network
    if [len(tensor.shape) for tensor in network.inputs] != [4]:
        raise SmallsetError(f"{name}: expected a backbone for images, found {type(network).__name__}. {LIST}")
    if input_tensor is None:
        return network
    size = input_tensor.shape[1]
    network = _resize(network, size)
    outputs = network(tree.map_structure(lambda _: input_tensor, network.input))
    coarsest = min(tree.flatten(outputs), key=lambda output: (-len(output.shape), np.prod(output.shape[1:-1])))
    [pixels] = keras.utils.get_source_inputs(input_tensor)
    return keras.Model(pixels, _to_maps(coarsest, size // int(np.ravel(getattr(network, "patch_size", 1))[0])))


def resize_positions(name: str, tensors: Tensors, image_size: int) -> Tensors:
    """The weights for another image size: some backbones stretch the positions of patches when they load a file."""
    network = create(name, pretrained=False)
    resized = _resize(network, image_size)
    if resized is network:
        return tensors
    network.set_weights(tensors)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "positions.weights.h5")
        network.save_weights(path)
        resized.load_weights(path)
    return list(resized.get_weights())


def _resize(network: keras.Model, size: int) -> keras.Model:
    if (original := network.inputs[0].shape[1]) in (None, size):
        return network
    try:
        return type(network).from_config(network.get_config() | {"image_shape": (size, size, 3)})
    except Exception:  # noqa: BLE001 - keras-hub's layers fail in many ways
        raise ValueError(f"it takes {original} px") from None


def preprocess(name: str, pixels: Any) -> Any:  # noqa: ANN401 - an array or a Keras tensor
    """Pixels in 0..255, scaled as the preset's image converter does it."""
    try:
        converter = _import_library(name).layers.ImageConverter.from_preset(_locate(name))
    except (OSError, ValueError):
        raise SmallsetError(
            f"{name}: expected a preset with an ImageConverter, which says how pixels are scaled; found none. "
            f"Save one with scale and offset in the preset's folder: converter.save_to_preset(folder)"
        ) from None
    scale = 1.0 if converter.scale is None else np.asarray(converter.scale).tolist()
    offset = 0.0 if converter.offset is None else np.asarray(converter.offset).tolist()
    return layers.Rescaling(scale, offset, name="rescaling")(pixels)


def _to_maps(outputs: keras.KerasTensor, side: int) -> keras.KerasTensor:
    """Feature maps (n, h, w, c) from maps, from tokens (n, t, c) of side x side patches, or from a vector (n, c)."""
    if len(outputs.shape) == 2:
        outputs = layers.Reshape((1, 1, outputs.shape[-1]), name="grid")(outputs)
    if len(outputs.shape) == 3:
        tokens = outputs.shape[1]
        side = side if side**2 <= tokens else int(tokens**0.5)  # blocks that merge patches leave fewer
        patches = layers.Cropping1D((tokens - side**2, 0), name="patches")(outputs)
        outputs = layers.Reshape((side, side, outputs.shape[-1]), name="grid")(patches)
    return layers.Identity(name="maps")(outputs)


def _import_library(name: str) -> ModuleType:
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        raise install.missing_extra(name, str(error.name), "hub") from None
    return keras_hub


def _locate(name: str) -> str:
    return os.path.expanduser(name.removeprefix(HUB))  # noqa: PTH111 - a Path would change hf://user/model


def _explain(library: ModuleType, preset: str, error: Exception) -> str:
    presets = library.models.Backbone.presets
    if preset not in presets and "://" not in preset and not Path(preset).is_dir():
        return f"found no such preset of keras-hub, and no such folder.{suggest(preset, presets)} {LIST}"
    reason = (str(error).strip() or repr(error)).splitlines()[-1][:300].rstrip(". ")
    return (
        f"keras-hub cannot read it: {reason}. If it needs a login: kagglehub.login() in Python, or hf auth login. "
        f"Without a network, copy the preset's folder and name it: {HUB}./folder"
    )
