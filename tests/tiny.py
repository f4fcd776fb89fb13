"""A short training that can be killed, and a tiny backbone with its features and the linear probe on them."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from smallset.datasets.dataset import Dataset
from smallset.features.store import Features
from smallset.images import batches
from smallset.models.classifier import Classifier
from smallset.pipeline import params
from smallset.pipeline.checkpoints import Arrays, Checkpoint
from smallset.training.linear_probe import LinearProbe

SIZE = 16
TRAINING: dict[str, Any] = {
    "batch_size": 4,
    "epochs": 2,
    "learning_rate": 1e-2,
    "optimizer": "rmsprop",
    "ema_momentum": None,
    "class_weight": None,
    "calibrate": False,
    "patience": None,
}
AUGMENTATION = params.Augmentation(flip="horizontal", rotation=0.1, zoom=0.2, fill="reflect")


def assign(photos: Dataset) -> Dataset:
    """The ten pictures of `drawn` in three splits: six for training, two for validation, two for testing."""
    splits = ["train", "train", "train", "validation", "test"] * 2
    return replace(photos, table=photos.table.assign(split=splits))


def backbone() -> keras.Model:
    """Map pixels (n, 16, 16, 3) to features (n, 8): two blocks with batch normalization, of random weights."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="block1")(pixels / 255)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="block2")(x)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x), name="tiny")


def embed(network: keras.Model, photos: Dataset) -> Features:
    """The features of photos and of their mirror images, as the stage writes them."""
    pixels, training = batches.pixels(photos, SIZE), batches.pixels(photos.train, SIZE)
    values, flipped = (network.predict(views, verbose=0).astype(np.float16) for views in (pixels, training[:, :, ::-1]))
    metadata = {"backbone": "tiny", "image_size": SIZE, "flip": "horizontal"}
    return Features(photos, values, flipped, np.zeros((len(photos), 32, 32), np.uint8), metadata)


def fit_probe(features: Features, C: float = 0.1) -> LinearProbe:  # noqa: N803 - scikit-learn's name
    return LinearProbe(C=C, class_weight=None, calibrate=False).fit(features)


def probe_classifier(photos: Dataset) -> Classifier:
    network = backbone()
    features = embed(network, photos)
    return fit_probe(features).to_classifier(features, network)


class KilledError(Exception):
    """As if the process had ended."""


def kill_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Raise KilledError once so many epochs are in checkpoints; return the numbers of the epochs that are written."""
    write, written = Checkpoint.write, []

    def write_and_die(checkpoint: Checkpoint, arrays: Arrays) -> None:
        write(checkpoint, arrays)
        if "history" in arrays:
            written.append(len(arrays["history"]))
            if len(written) == epochs:
                raise KilledError

    monkeypatch.setattr(Checkpoint, "write", write_and_die)
    return written


def assert_same_weights(network: keras.Model, other: keras.Model) -> None:
    for one, two in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
