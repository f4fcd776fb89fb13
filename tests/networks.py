"""Models for tests: the book's convnet of the committed params.yaml, and one that knows its limits."""

from pathlib import Path

import keras

from smallset.networks import inference, models, saving
from smallset.photos import lists
from smallset.pipeline import params
from smallset.training import pooling, transfer

BOOK = params.read(Path(__file__).parents[1] / "params.yaml").convnet
LINEAR = params.Linear(C=0.01, class_weights=None, calibrate=False)


def convnet(size: int, classes: int) -> keras.Model:
    return models.convnet(size, classes, BOOK)


def limited(path: Path, photos: lists.Photos) -> Path:
    """A model file, of 32 px and random weights, whose training and validation photos are these."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    trunk = keras.Model(inputs, keras.layers.Conv2D(6, 5, strides=3)(inputs / 255), name="trunk")
    inputs = keras.Input(trunk.output_shape[1:])
    top = keras.Model(inputs, keras.layers.Conv2D(8, 3)(inputs), name="top")
    head = pooling.unsolved(top.output_shape[1:], len(photos.classes))
    pool = inference.compiled(pooling.pool(models.chain([trunk, top], "base"), head))
    rows = pooling.Rows(inference.on_photos(pool, photos, 32, "pooling"), photos.labels)
    pooling.put(pooling.regression(rows, 0.01, LINEAR), head.layers[-1])
    kept = vars(pooling.bounded(head, rows, rows))
    saving.save(transfer.join([trunk, top], [head]), path, photos.classes, beside=kept)
    return path
