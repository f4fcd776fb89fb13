"""The book's convnet for tests: the one of the committed params.yaml."""

from pathlib import Path

import keras

from smallset.networks import models
from smallset.pipeline import params

BOOK = params.read(Path(__file__).parents[1] / "params.yaml").convnet


def convnet(size: int, classes: int) -> keras.Model:
    return models.convnet(size, classes, BOOK)
