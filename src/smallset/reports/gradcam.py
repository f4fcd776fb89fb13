"""Heat maps: where in a photo a network sees evidence for a class (Chollet 2021, section 9.4.3)."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from smallset.datasets import scan
from smallset.images import decoding
from smallset.models.classifier import Classifier
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import LISTED, visible
from smallset.reports import figures, thumbnails

COLORMAP, ALPHA = "jet", 0.4  # of the heat map over a photo
EXPLAINED, WIDTH = 1000, 5.0  # of the figure of `explain`: px of the photo, inches
NO_EVIDENCE = "no evidence for this class"

Array = NDArray[np.float32]
Call = tuple[keras.layers.Layer, tf.Tensor, tf.Tensor]  # a layer, its (first) input and its output

# Grad-CAM weights each channel by its mean gradient (Selvaraju et al. 2017). After Flatten and Dense, which treat every
# position differently, this mean often leaves only zeros. HiResCAM weights each position by its own gradient, and the
# sum of its map is the logit of such a head (Draelos and Carin 2020).
METHODS: Mapping[str, Callable[[Array, Array], Array]] = {  # feature map and gradients (h, w, c) -> (h, w)
    "Grad-CAM": lambda features, gradients: features @ gradients.mean((0, 1)),
    "HiResCAM": lambda features, gradients: (features * gradients).sum(-1),
}


class Heatmap(NamedTuple):
    """The evidence for a class at each position, (h, w) in 0..1, and the method; NO_EVIDENCE if all values are 0."""

    values: Array
    method: str


def explain(classifier: Classifier, photo: NDArray[np.uint8], name: str | None) -> tuple[Figure, str, float]:
    """Draw the heat map over a photo (height, width, 3); return the figure, the class, and its probability.

    name: the class; None for the most probable one.
    """
    if name is not None and name not in classifier.classes:
        raise SmallsetError(f"--label: expected one of {scan.some(classifier.classes, LISTED)}; found {name}.")
    probabilities = classifier.predict(photo).probabilities
    label = int(probabilities.argmax()) if name is None else classifier.classes.index(name)
    heatmap = compute_heatmap(classifier.network, classifier.resize(photo), label)
    title = f"{visible(classifier.classes[label])} {probabilities[label]:.4f}\n{heatmap.method}"
    overlay = blend(thumbnails.shrink(photo, EXPLAINED), heatmap.values)
    return figures.grid([overlay], [title], 1, WIDTH), classifier.classes[label], float(probabilities[label])


def compute_heatmap(network: keras.Model, pixels: Array, label: int) -> Heatmap:
    """The evidence in the last feature map for a class, by the first of METHODS that finds any.

    pixels: (size, size, 3), RGB in 0..255, as `Classifier.resize` returns them.
    """
    features, gradients = _differentiate(network, tf.convert_to_tensor(pixels)[None], label)
    for method, weight in METHODS.items():
        values = np.maximum(weight(features, gradients), 0)
        if values.any():
            return Heatmap(values / values.max(), method)
    return Heatmap(np.zeros(features.shape[:2], np.float32), NO_EVIDENCE)


def blend(photo: NDArray[np.uint8], values: Array) -> NDArray[np.uint8]:
    """A photo (height, width, 3) under its heat map, which is stretched to its size. Red is the strongest evidence."""
    height, width = photo.shape[:2]
    stretched = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))
    colors = colormaps[COLORMAP](stretched)[..., :3] * 255
    return np.rint((1 - ALPHA) * photo + ALPHA * colors).astype(np.uint8)


def show_heatmaps(classifier: Classifier, name: str, examples: pd.DataFrame, root: Path) -> list[thumbnails.Figure]:
    """For each row of predictions.csv of the model `name`: the photo, and the photo under its heat map."""
    shown = []
    for row in examples.to_dict("records"):
        photo, label = decoding.decode(root / row["file"]), classifier.classes.index(row["predicted"])
        heatmap, small = compute_heatmap(classifier.network, classifier.resize(photo), label), thumbnails.shrink(photo)
        alt = f"The same photo under its heat map for {row['predicted']}: {heatmap.method}"
        overlay = thumbnails.encode(blend(small, heatmap.values), alt)
        shown.append(thumbnails.show_prediction(name, row, small, overlay, heatmap.method))
    return shown


def _differentiate(network: keras.Model, pixels: tf.Tensor, label: int) -> tuple[Array, Array]:
    """The last feature map of a photo (1, size, size, 3), and the gradient of a class's logit there, both (h, w, c).

    The probability has no gradient where a sigmoid is saturated, as in the book's classifiers; the logit has one.
    """
    calls: list[Call] = []
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        _trace(network, calls, pixels)
        layer, features, _ = calls[-1]
        maps = [output for _, _, output in calls if len(output.shape) == 4]
        if not isinstance(layer, keras.layers.Dense) or not maps:
            raise SmallsetError(
                f"{network.name}: expected a network with feature maps that ends in a Dense layer, found one that ends "
                f"in {type(layer).__name__}. Use a model that a smallset pipeline saved."
            )
        logits = tf.matmul(features, layer.kernel) + layer.bias
        # One sigmoid is P(second class): evidence against it is evidence for the first class.
        score = logits[0, label] if layer.units > 1 else (2 * label - 1) * logits[0, 0]
    return maps[-1][0].numpy(), tape.gradient(score, maps[-1])[0].numpy()


def _trace(model: keras.Model, calls: list[Call], *inputs: tf.Tensor) -> tf.Tensor:
    """Run a model layer by layer, also inside of models that are its layers, and record every call."""

    def call(layer: keras.layers.Layer, *args: tf.Tensor, **kwargs: object) -> tf.Tensor:
        if hasattr(layer, "_run_through_graph"):
            return _trace(layer, calls, *args)
        output = layer(*args, **kwargs)
        calls.append((layer, args[0] if args else None, output))
        return output

    return model._run_through_graph(inputs, lambda layer: partial(call, layer))
