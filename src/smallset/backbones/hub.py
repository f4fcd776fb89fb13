"""Image backbones of keras-hub, by the name of a preset, `hub:dinov2_small`, or its folder, `hub:./folder`.

keras-hub is the extra `hub`, and imported where a base asks for it alone.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
from keras import layers, tree
from numpy.typing import NDArray

from smallset.backbones import opening
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.params import HUB, meant

LIST = "Names are listed at https://keras.io/keras_hub/presets"


def backbone(name: str, pretrained: bool) -> keras.Model:
    """The backbone of a preset; of one for images and texts, the part that sees images. Its weights, or random ones."""
    library = imported(name)
    try:
        found = library.models.Backbone.from_preset(place(name), load_weights=pretrained)
    except Exception as error:  # noqa: BLE001 - keras-hub's own, kagglehub's, huggingface_hub's
        raise SmallsetError(unreadable(name, library, error)) from None
    seeing = getattr(found, "vision_encoder", None) or found
    if [len(given.shape) for given in seeing.inputs] != [4]:
        takes = ", ".join(given.name for given in seeing.inputs)
        raise SmallsetError(
            f"params.yaml: base: name: {name}: expected a backbone for images; found {type(found).__name__}, which "
            f"takes {takes}. {LIST}"
        )
    return seeing


def imported(name: str) -> ModuleType:
    """keras-hub, if it is installed."""
    try:
        import keras_hub
    except ModuleNotFoundError as error:
        raise SmallsetError(
            f"params.yaml: base: name: {name} needs {error.name}, which is not installed. "
            'Run: pip install "smallset[hub]"'
        ) from None
    return keras_hub


def place(name: str) -> str:
    """What keras-hub calls a preset: a name, a handle as hf://user/model, or a folder."""
    preset = name.removeprefix(HUB)
    return str(Path(preset).expanduser()) if preset.startswith("~") else preset


def unreadable(name: str, library: ModuleType, error: Exception) -> str:
    """The message for a preset that could not be read: whether there is one of that name, and the cure."""
    known, preset = library.models.Backbone.presets, place(name)
    if preset not in known and "://" not in preset and not Path(preset).is_dir():
        return (
            f"params.yaml: base: name: {name}: keras-hub has no preset of that name, and there is no such folder."
            f"{meant(preset, known)} {LIST}"
        )
    return (
        f"params.yaml: base: name: {name} cannot be read: {last_line(error)}. If it needs a login: kagglehub.login() "
        f"in Python, or hf auth login. Without a network: copy the preset's folder, and name that, as {HUB}./folder"
    )


def last_line(error: Exception) -> str:
    """What an error of another library says, in short."""
    return (str(error).strip() or repr(error)).splitlines()[-1][:300].rstrip(". ")


def build(name: str, tensors: Sequence[NDArray[np.float32]], size: int) -> keras.Model:
    """Map (n, size, size, 3) RGB pixels in 0..255 to features (n, h, w, c), with the preset's scale and offset inside.

    Of tokens, those of the patches become a grid; those of class and registers are left out.
    tensors: values in the order of `backbone(name).weights`.
    """
    source = backbone(name, pretrained=False)
    source.set_weights(tensors)
    patch = patch_of(source)
    if size % patch:
        below = max(size // patch, 1) * patch
        raise SmallsetError(
            f"params.yaml: image: side, larger: side: {name} does not take photos of {size} px: expected a multiple of "
            f"its patch of {patch} px, as {below} or {below + patch}."
        )
    pixels = keras.Input((size, size, 3), name="pixels")
    scaled = scale(name, pixels)
    try:
        return opening.copied(mapped(pixels, opening.opened(source, size).call(scaled), patch))
    except Exception as error:  # noqa: BLE001 - keras-hub's layers are not made for this, and fail in many ways
        print(f"{name} stays in one piece, trained as a whole or not at all: {last_line(error)}")
    whole = at_side(name, source, size)
    features = whole(tree.map_structure(lambda _: scaled, whole.input))
    return mapped(pixels, layers.Identity(name="in_one_piece")(features), patch)


def patch_of(source: keras.Model) -> int:
    """The side of a patch, px; 1 for a network without patches."""
    patch = getattr(source, "patch_size", 1)
    return int(patch if isinstance(patch, int) else patch[0])


def scale(name: str, pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Pixels in 0..255 as the preset's image converter scales them; what it does to a photo's shape is left out."""
    try:
        known = imported(name).layers.ImageConverter.from_preset(place(name))
    except (OSError, ValueError) as error:
        raise SmallsetError(
            f"params.yaml: base: name: {name}: the preset does not say how pixels are scaled: {last_line(error)}. "
            f"Save an ImageConverter in its folder, with scale and offset: converter.save_to_preset(folder)"
        ) from None
    factor = 1.0 if known.scale is None else np.asarray(known.scale).tolist()
    offset = 0.0 if known.offset is None else np.asarray(known.offset).tolist()
    return layers.Rescaling(factor, offset, name="rescaling")(pixels)


def mapped(pixels: keras.KerasTensor, features: keras.KerasTensor, patch: int) -> keras.Model:
    """The base, its features as a map (n, h, w, c): of tokens (n, t, c) the last ones, those of the patches."""
    if len(features.shape) == 3:
        tokens, side = features.shape[1], pixels.shape[1] // patch
        side = side if side**2 <= tokens else int(tokens**0.5)  # blocks that merge patches leave fewer
        places = layers.Cropping1D((tokens - side**2, 0), name="patches")(features)
        features = layers.Reshape((side, side, features.shape[-1]), name="grid")(places)
    return keras.Model(pixels, layers.Identity(name="features")(features), name="base")


def at_side(name: str, source: keras.Model, size: int) -> keras.Model:
    """The backbone in one piece for photos of another side, where it can be made so."""
    side = source.inputs[0].shape[1]
    if side in (None, size):
        return source
    try:
        other = type(source).from_config(source.get_config() | {"image_shape": (size, size, 3)})
        other.set_weights(source.get_weights())
    except Exception:  # noqa: BLE001 - as where a backbone is opened
        raise SmallsetError(
            f"params.yaml: image: side, larger: side: {name} takes photos of {side} px alone, not of {size} px."
        ) from None
    return other
