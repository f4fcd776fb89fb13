"""A backbone of keras-hub as a graph that can be cut and saved: of layers that are blocks, or Keras's own.

There, all blocks of a ViT are one layer, which no cut runs through, and some layers have a config that their own class
does not take, since whole backbones alone are saved. Layers are opened by calling what they do on the graph's tensors.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops, tree
from numpy.typing import NDArray

ALIKE = 1e-3  # of the largest feature: what those of a graph and of its copy may differ by


def opened(source: keras.Model, size: int) -> keras.Model:
    """The backbone for photos (n, size, size, 3), with its weights; it gives a map (n, h, w, c) or tokens (n, t, c).

    Of several outputs it gives the one with the coarsest grid; of a backbone that pools at its end, what it pools.
    ValueError, and others of keras-hub's layers, for one that cannot be opened.
    """
    graph = reopened(source, source, size, stacks)
    while any(untold(layer) for layer in graph.layers):
        graph = reopened(graph, source, size, untold)
    return graph


def reopened(graph: keras.Model, source: keras.Model, size: int, opens: Callable[[keras.Layer], bool]) -> keras.Model:
    """The same graph, in which the layers that `opens` names are replaced by those in them."""
    maps: list[keras.KerasTensor] = []

    def run(layer: keras.Operation, *args: keras.KerasTensor, **kwargs: keras.KerasTensor) -> keras.KerasTensor:
        if of_hub(layer) and embeds(layer):
            outputs = embedded(source, layer, *args)
        elif of_hub(layer) and opens(layer):
            outputs = contents(layer, *args, **kwargs)
        else:
            outputs = called(layer, *args, **kwargs)
        maps.extend(output for output in tree.flatten(outputs) if len(output.shape) > 2)
        return outputs

    again = keras.models.clone_model(
        graph,
        input_tensors=tree.map_structure(lambda given: keras.Input((size, size, 3), name=given.name), graph.input),
        clone_function=lambda layer: layer,
        call_function=run,
    )
    outputs = [output for output in again.outputs if len(output.shape) > 2]
    return keras.Model(again.inputs[0], min(outputs or maps[-1:], key=lambda output: math.prod(output.shape[1:-1])))


def called(layer: keras.Operation, *args: keras.KerasTensor, **kwargs: keras.KerasTensor) -> keras.KerasTensor:
    """What a layer gives; as a constant what depends on the photo's shape alone, as DINOv3's rotations do."""
    outputs = layer(*args, **kwargs)
    if of_hub(layer) and not any(output.shape[0] is None for output in tree.flatten(outputs)):
        return layer(*(ops.zeros((1, *given.shape[1:])) for given in args), **kwargs)
    return outputs


def contents(layer: keras.Layer, *args: keras.KerasTensor, **kwargs: keras.KerasTensor) -> keras.KerasTensor:
    """What a layer gives, by the layers in it; an Identity of its name is its end, where a cut may be."""
    known = {weight.path for one in inside(layer) for weight in one.weights}
    if own := [weight.path for weight in layer.weights if weight.path not in known]:
        raise ValueError(f"{layer.name} has weights of its own, {', '.join(own)}, and no config that makes it again")
    for one in inside(layer):
        one.name = f"{layer.name}_{one.name}"
    outputs = layer.call(*args, **kwargs)
    return layers.Identity(name=layer.name)(outputs) if isinstance(outputs, keras.KerasTensor) else outputs


def of_hub(layer: keras.Operation) -> bool:
    """Whether a layer is keras-hub's, and not Keras's own."""
    return type(layer).__module__.partition(".")[0] == "keras_hub"


def inside(layer: keras.Layer) -> list[keras.Layer]:
    """The layers that a layer holds, without those in them."""
    return layer._flatten_layers(include_self=False, recursive=False)


def stacks(layer: keras.Layer) -> bool:
    """Whether a layer is a stack of blocks: most of its weights are in layers of one class."""
    sizes: dict[type, list[int]] = {}
    for one in filter(of_hub, inside(layer)):
        sizes.setdefault(type(one), []).append(one.count_params())
    return any(len(alike) > 1 and sum(alike) > layer.count_params() / 2 for alike in sizes.values())


def untold(layer: keras.Layer) -> bool:
    """Whether a layer's config does not make it again, as that of ViT's blocks, which tell more than they take."""
    try:
        return of_hub(layer) and type(layer).from_config(layer.get_config()).get_config() != layer.get_config()
    except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError):
        return True


def embeds(layer: keras.Layer) -> bool:
    """Whether a layer makes tokens of patches: by one convolution, and by what is added."""
    leaves = [one for one in layer._flatten_layers(include_self=False) if one.weights and not inside(one)]
    linear = [one for one in leaves if isinstance(one, layers.Conv2D) and one.kernel_size == one.strides]
    added = [one for one in leaves if isinstance(one, layers.Embedding)]
    return len(linear) == 1 and len(linear) + len(added) == len(leaves)


def embedded(source: keras.Model, layer: keras.Layer, pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The tokens (n, t, c) of a layer that `embeds`, by Keras's own layers, for photos of any side.

    Patches of a photo without light show what is added, (t, c): the bias, the positions, the tokens of class and
    registers. For another side the positions are stretched (Dosovitskiy et al. 2021, section 3.2).
    """
    [convolution] = [one for one in layer._flatten_layers() if isinstance(one, layers.Conv2D)]
    patch, side = convolution.kernel_size[0], source.inputs[0].shape[1] or pixels.shape[1]
    added = np.asarray(layer(np.zeros((1, side, side, 3), np.float32)))[0]
    extra, grid = len(added) - (side // patch) ** 2, pixels.shape[1] // patch
    added = stretched(added, extra, grid, getattr(source, "antialias_in_interpolation", False))
    x = layers.Reshape((grid, patch, grid, patch, 3))(pixels)
    x = layers.Reshape((grid**2, patch * patch * 3))(layers.Permute((1, 3, 2, 4, 5))(x))
    x = layers.ZeroPadding1D((extra, 0))(x)
    linear = layers.EinsumDense("ntk,kc->ntc", added.shape, bias_axes="tc", name=layer.name)
    tokens = linear(x)
    linear.set_weights([np.reshape(convolution.kernel, (-1, convolution.filters)), added])
    return tokens


def stretched(added: NDArray[np.float32], extra: int, grid: int, antialias: bool) -> NDArray[np.float32]:
    """What is added to `extra` tokens and those of a square grid, (t, c), for one of `grid` by `grid`."""
    side = math.isqrt(len(added) - extra)
    if side == grid:
        return added
    places = added[extra:].reshape(1, side, side, -1)
    places = np.asarray(ops.image.resize(places, (grid, grid), "bicubic", antialias=antialias))
    return np.concatenate([added[:extra], places.reshape(grid**2, -1)])


def copied(base: keras.Model) -> keras.Model:
    """The model as a file of it gives it back; ValueError where that is another one."""
    copy = keras.models.model_from_json(base.to_json())
    copy.set_weights(base.get_weights())
    photo = np.random.default_rng(0).uniform(0, 255, (1, *base.input_shape[1:])).astype(np.float32)
    expected, found = (np.asarray(model(photo, training=False)) for model in (base, copy))
    if not np.abs(found - expected).max() <= ALIKE * np.abs(expected).max():
        raise ValueError("a copy by its config gives other features")
    return copy
