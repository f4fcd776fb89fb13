"""Train the last parts of a network on the cached outputs of the parts before, as the book does (listing 8.21)."""

from collections.abc import Sequence
from functools import partial

import keras
import numpy as np
from numpy.typing import NDArray

from smallset.features import activations
from smallset.images import batches
from smallset.models import convnets
from smallset.models.probabilities import to_class_probabilities
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError
from smallset.training import fitting

TOLERANCE = 0.05  # float16 storage and bfloat16 products cause about 0.01; exchanged colors cause 0.3 or more

Parts = Sequence[keras.Model]
Result = tuple[keras.Model, fitting.Fitted]


def build_head(data: activations.Data, p: params.Head) -> keras.Model:
    """Build the book's head for cached features."""
    return convnets.book_head(data.train.views.shape[2:], len(data.train.dataset.classes), p.dense_units, p.dropout)


def fit(
    frozen: Parts,
    trainable: Parts,
    data: activations.Data,
    p: params.Training,
    run: fitting.Run,
    augment: params.Augmentation | None = None,
) -> Result:
    """Train on cached outputs, and return the network from pixels on; SmallsetError when they are not of `frozen`.

    Without cached views it trains from pixels, on new views in each epoch, as in the book.
    """
    if not len(data.train.views):
        network = compose(frozen, trainable)
        load = partial(batches.load, image_size=network.input_shape[1], augment=augment)
        return network, fitting.fit(network, load, data.train.dataset, data.validation.dataset, p, run)
    part, network = convnets.join(trainable, "trainable"), compose(frozen, trainable)
    rows, pixels = data.checked
    cached = data.validation.views[0, rows].astype(np.float32)
    check_features(convnets.join(frozen, "frozen"), pixels, cached)
    fitted = fitting.fit(part, activations.load, data.train, data.validation, p, run)
    check_probabilities(network, pixels, to_class_probabilities(part.predict(cached, verbose=0)))
    return network, fitted


def compose(frozen: Parts, trainable: Parts) -> keras.Model:
    """Join all parts into one network, in which only the weights of `trainable` can change."""
    for part in frozen:
        part.trainable = False
    unfreeze(trainable)
    return convnets.join([*frozen, *trainable], "smallset", frozen=len(frozen))


def unfreeze(parts: Parts) -> None:
    """Make parts trainable, except BatchNormalization: ImageNet's statistics are better than those of small batches."""
    for part in parts:
        part.trainable = True
        for layer in part._flatten_layers():  # also those inside other layers, as in keras-hub's EfficientNets
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False


def check_features(network: keras.Model, pixels: NDArray[np.float32], cached: NDArray[np.float32]) -> None:
    """SmallsetError when the features of photos differ from cached ones, or when all are zero."""
    if not cached.any():
        raise SmallsetError("Expected features, found only zeros. Use another backbone, or a file of trained weights.")
    difference = network.predict(pixels, verbose=0) - cached
    _check(float(np.linalg.norm(difference) / np.linalg.norm(cached)), "features")


def check_probabilities(network: keras.Model, pixels: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
    """SmallsetError when a network's probabilities for photos differ from expected ones, (n, classes)."""
    difference = to_class_probabilities(network.predict(pixels, verbose=0)) - expected
    _check(float(np.abs(difference).max(axis=1).mean()), "probabilities")


def _check(difference: float, what: str) -> None:
    print(f"The {what} from pixels and those from cached values differ by {difference:.2%}")
    if not difference <= TOLERANCE:
        raise SmallsetError(
            f"Expected the same {what} from pixels and from cached values, within {TOLERANCE:.0%}; found a difference "
            f"of {difference:.1%}. The cache is damaged, or belongs to other weights. Run: smallset check --fix"
        )
