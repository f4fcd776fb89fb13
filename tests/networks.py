"""Models for tests: the book's convnet of the committed params.yaml, and one that knows its limits."""

from pathlib import Path

import keras

from smallset.datasets import lists
from smallset.models import convnets, engine, model_file
from smallset.pipeline import params
from smallset.training import linear_probe, transfer

BOOK = params.read(Path(__file__).parents[1] / "params.yaml").convnet
LINEAR = params.Linear(C=0.01, class_weights=None, calibrate=False)


def convnet(size: int, classes: int) -> keras.Model:
    return convnets.convnet(size, classes, BOOK)


def limited(path: Path, photos: lists.Photos) -> Path:
    """A model file, of 32 px and random weights, whose training and validation photos are these."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    trunk = keras.Model(inputs, keras.layers.Conv2D(6, 5, strides=3)(inputs / 255), name="trunk")
    inputs = keras.Input(trunk.output_shape[1:])
    top = keras.Model(inputs, keras.layers.Conv2D(8, 3)(inputs), name="top")
    head = linear_probe.unsolved(top.output_shape[1:], len(photos.classes))
    pool = engine.compiled(linear_probe.pool(convnets.chain([trunk, top], "base"), head))
    rows = linear_probe.Rows(engine.on_photos(pool, photos, 32, "pooling"), photos.labels)
    linear_probe.put(linear_probe.regression(rows, 0.01, LINEAR), head.layers[-1])
    kept = vars(linear_probe.bounded(head, rows, rows))
    model_file.save(transfer.join([trunk, top], [head]), path, photos.classes, beside=kept)
    return path
