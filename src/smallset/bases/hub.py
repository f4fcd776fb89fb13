"""Image backbones of keras-hub, by the name of a preset, `hub:dinov2_small`, or its folder, `hub:./folder`.

keras-hub is an extra, and imported where a base asks for it alone. A backbone becomes a graph that can be cut: what is
a stack of blocks there is opened, so that each block is a layer. Models on it load where keras-hub is installed.
"""

import math
import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree
from numpy.typing import NDArray

from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.params import HUB, meant

ABOVE = 0.1  # of the weights, at least, lie above the cut where all blocks are of one resolution: 2 blocks of 12
ALIKE = 1e-3  # of the features' largest value: what a graph and its copy may differ by

Tensors = Sequence[NDArray[np.float32]]


def backbone(name: str, pretrained: bool) -> keras.Model:
    """The backbone of a preset; of one for images and texts, the part that sees images. Its weights, or random ones."""
    library = imported(name)
    try:
        found = library.models.Backbone.from_preset(place(name), load_weights=pretrained)
    except Exception as error:  # noqa: BLE001 - keras-hub's own, kagglehub's, huggingface_hub's
        raise SmallsetError(unreachable(name, library, error)) from None
    seeing = getattr(found, "vision_encoder", None) or found
    if [len(given.shape) for given in seeing.inputs] != [4]:
        takes = ", ".join(given.name for given in seeing.inputs)
        raise SmallsetError(
            f"params.yaml: base: name: {name}: expected a backbone for images; found a {type(found).__name__}, which "
            f"takes {takes}. Names are listed at https://keras.io/keras_hub/presets"
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
    return os.path.expanduser(name.removeprefix(HUB))


def unreachable(name: str, library: ModuleType, error: Exception) -> str:
    """The error for a preset that could not be read: whether there is one of that name, and the cure."""
    known, wanted = library.models.Backbone.presets, place(name)
    if wanted not in known and "://" not in wanted and not os.path.isdir(wanted):
        return (
            f"params.yaml: base: name: {name}: keras-hub has no preset of that name, and there is no such folder."
            f"{meant(wanted, known)} Names are listed at https://keras.io/keras_hub/presets"
        )
    reason = (str(error).strip() or repr(error)).splitlines()[-1][:300]
    return (
        f"params.yaml: base: name: {name} cannot be read: {reason}. If it needs a login, give Kaggle's or Hugging "
        f"Face's; without a network, copy the preset's folder and name that: {HUB}./folder"
    )


def build(name: str, tensors: Tensors, size: int) -> keras.Model:
    """Map (n, size, size, 3) RGB pixels in 0..255 to features (n, h, w, c), with the preset's scale and offset inside.

    Tokens become the grid of their patches, without those of class and register. Where the preset is for photos of
    another side, the embeddings of the patches' positions are stretched (Dosovitskiy et al. 2021, section 3.2).
    tensors: values in the order of `backbone(name).weights`.
    """
    source = backbone(name, pretrained=False)
    source.set_weights(tensors)
    patch = patch_of(source)
    if size % patch:
        below = size // patch * patch
        raise SmallsetError(
            f"params.yaml: image: side, larger: side: {name} does not take photos of {size} px: expected a multiple of "
            f"its patch of {patch} px, as {below or patch} or {below + patch}."
        )
    pixels = keras.Input((size, size, 3), name="pixels")
    scaled = scale(name, pixels)
    try:
        return lasting(joined(pixels, opened(source, size).call(scaled), patch))
    except Exception as error:  # noqa: BLE001 - keras-hub does not make its layers for this: whichever way one fails
        print(f"{name} stays in one piece, which no stage trains: {str(error).splitlines()[0][:300]}")
    whole = at_side(name, source, size)
    features = whole(tree.map_structure(lambda _: scaled, whole.input))
    return joined(pixels, layers.Identity(name="in_one_piece")(features), patch)


def patch_of(source: keras.Model) -> int:
    """The side of a patch, px; 1 for a network without patches."""
    patch = getattr(source, "patch_size", 1)
    return int(patch if isinstance(patch, int) else patch[0])


def scale(name: str, pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Pixels in 0..255 as the preset's image converter scales them, which also may resize: photos come resized."""
    library = imported(name)
    try:
        known = library.layers.ImageConverter.from_preset(place(name))
    except Exception as error:
        raise SmallsetError(
            f"params.yaml: base: name: {name}: the preset does not say how pixels are scaled: {error}. Save its "
            f"ImageConverter, with scale and offset, in the same folder: converter.save_to_preset(folder)."
        ) from error
    factor, offset = (np.asarray(value).tolist() for value in (known.scale or 1.0, known.offset or 0.0))
    return layers.Rescaling(factor, offset, name="rescaling")(pixels)


def opened(source: keras.Model, size: int) -> keras.Model:
    """The backbone for photos of `size` px as a graph of layers that can be saved one by one, with its weights.

    Its output is that of the backbone, of several the one with the coarsest grid; of one that pools at its end, what
    it pools.
    """
    model = reopened(source, source, size, stacks)
    while any(untold(layer) for layer in model.layers):
        model = reopened(model, source, size, untold)
    return model


def reopened(model: keras.Model, source: keras.Model, size: int, opens: Callable[[Any], bool]) -> keras.Model:
    """The same graph, in which the layers that `opens` names are replaced by those in them."""
    seen: list[keras.KerasTensor] = []

    def run(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if embeds(layer):
            outputs = embedded(source, layer, args[0])
        elif opens(layer):
            outputs = contents(layer, *args, **kwargs)
        else:
            outputs = called(layer, *args, **kwargs)
        seen.extend(output for output in tree.flatten(outputs) if len(output.shape) > 2)
        return outputs

    graph = keras.models.clone_model(
        model,
        input_tensors=tree.map_structure(lambda given: keras.Input((size, size, 3), name=given.name), model.input),
        clone_function=lambda layer: layer,
        call_function=run,
    )
    maps = [output for output in graph.outputs if len(output.shape) > 2] or seen[-1:]
    return keras.Model(graph.inputs[0], min(maps, key=positions))


def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """What a layer gives; as a constant what depends on the photo's shape alone, as DINOv3's rotations do."""
    outputs = layer(*args, **kwargs)
    if of_hub(layer) and not any(output.shape[0] is None for output in tree.flatten(outputs)):
        return layer(*tree.map_structure(lambda given: ops.zeros((1, *given.shape[1:])), args), **kwargs)
    return outputs


def contents(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
    """What a layer gives, by the layers in it; a layer of its name marks the end. ValueError if it has weights itself."""
    inner = {weight.path for one in inside(layer) for weight in one.weights}
    if any(weight.path not in inner for weight in layer.weights):
        raise ValueError(f"{layer.name} has weights of its own and a config that makes another layer")
    for one in inside(layer):
        one.name = f"{layer.name}_{one.name}"
    outputs = layer.call(*args, **kwargs)
    return layers.Identity(name=layer.name)(outputs) if isinstance(outputs, keras.KerasTensor) else outputs


def of_hub(layer: Any) -> bool:
    """Whether a layer is none of Keras's own."""
    return type(layer).__module__.partition(".")[0] == "keras_hub"


def inside(layer: keras.Layer) -> list[keras.Layer]:
    """The layers that a layer holds, without those in them."""
    return layer._flatten_layers(include_self=False, recursive=False)


def stacks(layer: Any) -> bool:
    """Whether a layer is a stack of blocks: most of its weights are in layers of one class."""
    if not of_hub(layer):
        return False
    found: dict[type, list[int]] = {}
    for one in filter(of_hub, inside(layer)):
        found.setdefault(type(one), []).append(one.count_params())
    return any(len(alike) > 1 and sum(alike) > layer.count_params() / 2 for alike in found.values())


def untold(layer: Any) -> bool:
    """Whether a layer's config does not make such a layer, as that of ViT's blocks, which tell more than they take."""
    try:
        return of_hub(layer) and type(layer).from_config(layer.get_config()).get_config() != layer.get_config()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return True


def embeds(layer: Any) -> bool:
    """Whether a layer turns patches into tokens, by a convolution and weights that are added."""
    if not of_hub(layer):
        return False
    leaves = [one for one in layer._flatten_layers(include_self=False) if one.weights and not inside(one)]
    convolutions = [one for one in leaves if isinstance(one, layers.Conv2D)]
    others = [one for one in leaves if not isinstance(one, layers.Conv2D | layers.Embedding)]
    return len(convolutions) == 1 and not others and convolutions[0].kernel_size == convolutions[0].strides


def embedded(source: keras.Model, layer: keras.Layer, pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The tokens (n, t, c) of a layer that `embeds`, by Keras's own layers, for photos of any side.

    A photo without light shows what is added, (t, c): the bias, the positions, the tokens of class and register.
    """
    [convolution] = [one for one in layer._flatten_layers() if isinstance(one, layers.Conv2D)]
    patch, channels, wanted = convolution.kernel_size[0], convolution.filters, pixels.shape[1]
    side = source.inputs[0].shape[1] or wanted
    added = np.asarray(layer(np.zeros((1, side, side, 3), np.float32)))[0]
    extra, grid = len(added) - (side // patch) ** 2, wanted // patch
    added = stretched(added, extra, grid, getattr(source, "antialias_in_interpolation", False))
    x = layers.Reshape((grid, patch, grid, patch, 3))(pixels)
    x = layers.Reshape((grid**2, patch * patch * 3))(layers.Permute((1, 3, 2, 4, 5))(x))
    x = layers.ZeroPadding1D((extra, 0))(x)
    linear = layers.EinsumDense("ntk,kc->ntc", added.shape, bias_axes="tc", name=layer.name)
    tokens = linear(x)
    linear.set_weights([np.reshape(convolution.kernel, (-1, channels)), added])
    return tokens


def stretched(added: NDArray[np.float32], extra: int, grid: int, antialias: bool) -> NDArray[np.float32]:
    """What is added to the tokens of a square grid, (extra + any, c), for one of `grid` by `grid`: (extra + grid², c)."""
    side = math.isqrt(len(added) - extra)
    if side == grid:
        return added
    places = added[extra:].reshape(1, side, side, -1)
    places = np.asarray(ops.image.resize(places, (grid, grid), "bicubic", antialias=antialias))
    return np.concatenate([added[:extra], places.reshape(grid**2, -1)])


def joined(pixels: keras.KerasTensor, features: keras.KerasTensor, patch: int) -> keras.Model:
    """The base, whose features are a map (n, h, w, c): of tokens (n, t, c), those of the patches, which are the last."""
    if len(features.shape) == 3:
        tokens, side = features.shape[1], pixels.shape[1] // patch
        side = side if side**2 <= tokens else math.isqrt(tokens)  # blocks that merge patches leave fewer
        places = layers.Cropping1D((tokens - side**2, 0))(features)
        features = layers.Reshape((side, side, features.shape[-1]))(places)
    return keras.Model(pixels, layers.Identity(name="features")(features), name="base")


def lasting(base: keras.Model) -> keras.Model:
    """The base as a file of it gives it back, with layers of its own; ValueError where that is another one."""
    copy = keras.models.model_from_json(base.to_json())
    copy.set_weights(base.get_weights())
    photo = np.random.default_rng(0).uniform(0, 255, (1, *base.input_shape[1:])).astype(np.float32)
    expected, found = (np.asarray(model(photo, training=False)) for model in (base, copy))
    if not np.abs(found - expected).max() <= ALIKE * np.abs(expected).max():
        raise ValueError("a copy of it by its config gives other features")
    return copy


def at_side(name: str, source: keras.Model, size: int) -> keras.Model:
    """The backbone in one piece for photos of another side, where it can be made so."""
    side = source.inputs[0].shape[1]
    if side in (None, size):
        return source
    try:
        other = type(source).from_config(source.get_config() | {"image_shape": (size, size, 3)})
        other.set_weights(source.get_weights())
    except ValueError as error:
        raise SmallsetError(
            f"params.yaml: image: side, larger: side: {name} takes photos of {side} px, and not of {size} px: {error}"
        ) from None
    return other


def positions(tensor: keras.KerasTensor) -> int:
    """How many places a map (n, h, w, c) or tokens (n, t, c) have."""
    return math.prod(tensor.shape[1:-1])


def cut(base: keras.Model) -> str:
    """The layer that ends the trunk of a base by `build`: the end of its last stage but one, as of ResNets.

    A stage is what has one resolution. Where all blocks are of one, as in ViTs, the last of them are the top, with
    `ABOVE` of the weights; of a backbone in one piece, nothing.
    """
    steps = base.operations
    weighted = [index for index, layer in enumerate(steps) if weights_of(layer)]
    last = positions(steps[weighted[-1]].output)
    stage = next(index for index in weighted if positions(steps[index].output) == last)
    ends = [index for index in bottlenecks(base) if weighted[0] <= index < len(steps) - 1]
    lower = [index for index in ends if index < stage]
    if lower:
        return steps[narrowest(lower, [math.prod(steps[index].output.shape[1:]) for index in lower])].name
    above = base.count_params() - np.cumsum([weights_of(layer) for layer in steps])
    upper = [index for index in ends if above[index] >= ABOVE * base.count_params()]
    return steps[(upper or ends)[-1]].name


def weights_of(step: Any) -> int:
    """How many weights a layer has; an operation that is no layer has none."""
    return step.count_params() if isinstance(step, keras.Layer) else 0


def bottlenecks(base: keras.Model) -> list[int]:
    """Which of a model's operations are layers whose output is all that those after them need."""
    needed = {id(given): index for index, one in enumerate(base.operations) for given in tree.flatten(one.input)}
    needed[id(base.output)] = len(base.operations)
    open_, found = set(), []
    for index, one in enumerate(base.operations):
        given = [id(output) for output in tree.flatten(one.output)]
        open_ = {tensor for tensor in open_.union(given) if needed.get(tensor, 0) > index}
        if open_ == set(given) and len(given) == 1 and isinstance(one, keras.Layer):
            found.append(index)
    return found


def narrowest(indices: list[int], sizes: list[int]) -> int:
    """Of layers one after the other the last one, or one shortly before that gives fewer values, as before a widening."""
    first = len(sizes) - 1
    while first and sizes[first - 1] <= sizes[first]:
        first -= 1
    return indices[max(range(first, len(sizes)), key=lambda at: (-sizes[at], at))]
