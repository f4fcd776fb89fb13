"""Where a photo speaks for a class: Grad-CAM (Selvaraju et al. 2017; Chollet 2021, section 9.4.3), or what stands in.

Grad-CAM weighs a channel by its gradient in the mean over all places. Where a head looks at each place by itself, as
one of Flatten and Dense does, that mean is none of them, and on a small map often leaves nothing but zeros. HiResCAM
weighs every place by its own gradient: such a head's logit is the sum of the map (Draelos and Carin 2020).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from smallset.images import decoding
from smallset.models import convnets
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.text import visible
from smallset.reports import figures

COLOURS, ALPHA = "jet", 0.4  # of the heat map over a photo
NOTHING = "nothing in the photo speaks for it"

Array = NDArray[np.float32]
METHODS: Mapping[str, Callable[[Array, Array], Array]] = {  # features and gradients (h, w, c) to (h, w)
    "Grad-CAM": lambda features, gradients: features @ gradients.mean((0, 1)),
    "HiResCAM": lambda features, gradients: (features * gradients).sum(-1),
}


@dataclass(frozen=True)
class Heat:
    """How much each place speaks for a class, (h, w) in 0..1, and by which method; NOTHING where all are 0."""

    values: Array
    method: str


def explain(
    model: keras.Model, classes: Sequence[str], photo: NDArray[np.uint8], name: str | None
) -> tuple[Figure, str, float]:
    """The overlay for a photo (height, width, 3), the class that it is for, and the class's probability.

    name: the class; None: the likeliest one.
    """
    if name is not None and name not in classes:
        raise SmallsetError(f"--label: expected one of {', '.join(classes)}; found {name}.")
    pixels = squeezed(model, photo)
    probabilities = convnets.per_class(np.asarray(model(pixels, training=False)))[0]
    label = int(probabilities.argmax()) if name is None else classes.index(name)
    heat = heatmap(model, pixels, label)
    title = f"{visible(classes[label])} {probabilities[label]:.4f}\n{heat.method}"
    return overlay(photo, heat.values, title), classes[label], probabilities[label]


def squeezed(model: keras.Model, photo: NDArray[np.uint8]) -> tf.Tensor:
    """A photo (height, width, 3) as the model takes it, (1, size, size, 3), as images.load does."""
    size = model.input_shape[1]
    return tf.image.resize(photo, (size, size))[None]


def heatmap(model: keras.Model, pixels: tf.Tensor, label: int) -> Heat:
    """What each place of the last feature map says for a class, for pixels (1, size, size, 3), by the first of METHODS
    that finds anything.

    Features are weighed by the gradient of the class's logit: its probability has none where a sigmoid is saturated, as
    the book's heads are.
    """
    features, gradients = felt(model, pixels, label)
    for method, weighed in METHODS.items():
        heat = np.maximum(weighed(features, gradients), 0)
        if heat.any():
            return Heat(heat / heat.max(), method)
    return Heat(np.zeros(features.shape[:2], np.float32), NOTHING)


def felt(model: keras.Model, pixels: tf.Tensor, label: int) -> tuple[Array, Array]:
    """The last feature map of a photo (1, size, size, 3), and the gradient of a class's logit there, both (h, w, c)."""
    below, above, last = split(model)
    features = pixels
    for part in below:
        features = part(features, training=False)
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = tf.matmul(above(features, training=False), last.kernel) + last.bias
        # One sigmoid is P(second class): what speaks against it speaks for the first.
        score = logits[0, label] if last.units > 1 else (2 * label - 1) * logits[0, 0]
    return features[0].numpy(), tape.gradient(score, features)[0].numpy()


def split(model: keras.Model) -> tuple[list[keras.Model], keras.Model, keras.layers.Dense]:
    """The parts up to the last feature map (1, h, w, c), the model from there to the last layer, and that layer."""
    last = model.layers[-1]
    if isinstance(last, keras.Model):  # trunk, top, head: the map is what the head takes
        below, features, last = model.layers[1:-1], last.input, last.layers[-1]
    else:  # one network: the map is the last output with height and width
        features = [layer.output for layer in model.layers if len(layer.output.shape) == 4][-1]
        below = [keras.Model(model.input, features)]
    if not isinstance(last, keras.layers.Dense):
        raise SmallsetError(
            f"{model.name}: expected a model that ends in a Dense layer, found {type(last).__name__}. "
            f"Take one that a smallset pipeline saved."
        )
    return below, keras.Model(features, last.input), last


def overlay(photo: NDArray[np.uint8], heat: NDArray[np.float32], title: str) -> Figure:
    """The photo under its heat map, which is stretched as the photo was squeezed; red speaks for the class."""
    height, width = photo.shape[:2]
    figure = Figure((5, 5 * height / width + 0.5), layout="constrained")
    ax = figure.subplots()
    ax.imshow(photo)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(heat, cmap=COLOURS, vmin=0, vmax=1, alpha=ALPHA, extent=extent, interpolation="bilinear")
    ax.set_title(title, parse_math=False)
    ax.axis("off")
    return figure


def heated(photo: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What `overlay` draws, as pixels (height, width, 3): no frame, no title."""
    height, width = photo.shape[:2]
    stretched = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))
    colours = colormaps[COLOURS](stretched)[..., :3] * 255
    return np.rint((1 - ALPHA) * photo + ALPHA * colours).astype(np.uint8)


def overlays(
    model: keras.Model, classes: Sequence[str], predictions: pd.DataFrame, folder: Path, side: int
) -> list[tuple[NDArray[np.uint8], str]]:
    """Photos below `folder`, of at most `side` px, under what speaks for their predicted classes: pixels (h, w, 3), and
    the method."""
    pictures = []
    for row in predictions.to_dict("records"):
        path = folder / row["file"]
        heat = heatmap(model, squeezed(model, decoding.decode(path)), classes.index(row["predicted"]))
        pictures.append((heated(figures.thumbnail(path, side), heat.values), heat.method))
    return pictures
