"""What is trained on cached outputs works on pixels: the joined network agrees, and only its last parts learn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny

from smallset.datasets.dataset import Dataset
from smallset.features import activations
from smallset.images import batches
from smallset.models import convnets
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Checkpoint
from smallset.pipeline.errors import SmallsetError
from smallset.training import fitting, transfer

P = params.Training(**tiny.TRAINING | {"calibrate": True})
Parts = tuple[keras.Model, keras.Model, keras.Model]


@pytest.fixture
def parts() -> Parts:
    """Frozen layers, of which one drops values in training, a last block with batch normalization, and the head."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((tiny.SIZE, tiny.SIZE, 3))
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu")(pixels / 255)
    frozen = keras.Model(pixels, keras.layers.Dropout(0.9)(x), name="frozen")
    activated = keras.Input(frozen.output_shape[1:])
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(5, 3)(activated))
    last_block = keras.Model(activated, x, name="last_block")
    return frozen, last_block, convnets.book_head(last_block.output_shape[1:], 2, 8, 0.5)


def make_data(network: keras.Model, photos: Dataset, views: int = 2) -> activations.Data:
    """The network's outputs for the photos, and as views for training the photos and their mirror images."""
    pixels = batches.pixels(photos, tiny.SIZE)
    plain, flipped = (network.predict(view, verbose=0).astype(np.float16) for view in (pixels, pixels[:, :, ::-1]))
    train = activations.Cache(np.stack([plain, flipped])[:views], photos)
    return activations.Data(train, activations.Cache(plain, photos), pixels)


@pytest.fixture
def run(tmp_path: Path) -> fitting.Run:
    return fitting.Run(0, Checkpoint(tmp_path / "checkpoint.npz", ""), tmp_path / "history.csv")


def test_the_network_on_pixels_gives_what_the_trained_parts_give_on_the_cache(
    parts: Parts, drawn: Dataset, run: fitting.Run
) -> None:
    frozen, last_block, head = parts
    data = make_data(frozen, drawn)
    before = [[weight.copy() for weight in part.get_weights()] for part in parts]
    network, fitted = transfer.fit([frozen], [last_block, head], data, P, run)
    changed = [
        [not np.array_equal(old, new) for old, new in zip(weights, part.get_weights(), strict=True)]
        for weights, part in zip(before, parts, strict=True)
    ]
    # The frozen convolution, then that of the last block with ImageNet's normalization, and the head.
    assert changed == [[False] * 2, [True] * 2 + [False] * 4, [True] * 4]
    on_cache = head.predict(last_block.predict(data.validation.values.astype(np.float32), verbose=0), verbose=0)
    np.testing.assert_allclose(network.predict(data.pixels, verbose=0), on_cache, atol=0.02)
    assert fitted.temperature != 1
    assert len(fitted.history) == P.epochs


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda weight: -weight, "Expected the same features"), (lambda weight: 0 * weight, "found only zeros")],
)
def test_a_cache_of_another_network_and_one_of_zeros_are_refused(
    parts: Parts, drawn: Dataset, run: fitting.Run, change: Callable[[Any], Any], message: str
) -> None:
    frozen, last_block, head = parts
    weights = frozen.get_weights()
    frozen.set_weights([change(weight) for weight in weights])
    data = make_data(frozen, drawn)
    frozen.set_weights(weights)
    with pytest.raises(SmallsetError, match=message):
        transfer.fit([frozen], [last_block, head], data, P, run)


def test_without_cached_views_the_network_is_trained_from_pixels(
    parts: Parts, drawn: Dataset, run: fitting.Run
) -> None:
    frozen, last_block, head = parts
    backbone = convnets.join([frozen, last_block], "backbone")
    before = [weight.copy() for weight in head.get_weights()]
    data = make_data(backbone, drawn, views=0)
    network, fitted = transfer.fit([frozen, last_block], [head], data, P, run, tiny.AUGMENTATION)
    assert len(fitted.history) == P.epochs
    assert network.input_shape == (None, tiny.SIZE, tiny.SIZE, 3)
    assert len(network.trainable_weights) == 4
    assert not any(np.array_equal(old, new) for old, new in zip(before, head.get_weights(), strict=True))
