"""The book's convnet for tests: the one of the committed params.yaml."""

from pathlib import Path

import keras

from smallset import models, params

BOOK = params.read(Path(__file__).parents[1] / "params.yaml").convnet


def convnet(size: int, classes: int) -> keras.Model:
    return models.convnet(size, classes, BOOK)
