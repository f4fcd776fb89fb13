"""Networks for tests: the book's convnet with the committed params, and a small classifier with reference scores."""

from pathlib import Path

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smallset.datasets.dataset import Dataset
from smallset.models import convnets
from smallset.models.classifier import Classifier
from smallset.models.probabilities import to_class_probabilities
from smallset.models.reference import fit_reference
from smallset.pipeline import params

BOOK = params.read(Path(__file__).parents[1] / "params.yaml").convnet


def convnet(size: int, classes: int) -> keras.Model:
    return convnets.convnet(size, classes, BOOK)


def fit_classifier(dataset: Dataset, reference: bool = True) -> Classifier:
    """A logistic regression on 32 px photos and 9 random filters. All photos are training and validation photos."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((32, 32, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(9, 5, activation="relu")(pixels / 255))
    backbone = keras.Model(pixels, features, name="backbone")
    head = convnets.probability_layer(len(dataset.classes))
    inputs = keras.Input((32, 32, 3))
    network = keras.Model(inputs, head(backbone(inputs)), name="linear_probe")
    classifier = Classifier(network, dataset.classes, seen=frozenset(dataset.sha256))
    rows = np.asarray(backbone(np.stack([classifier.resize(path) for path in dataset.paths])))
    scaler, regression = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, dataset.labels)
    kernel = (regression.coef_ / scaler.scale_).T
    head.set_weights([kernel, regression.intercept_ - scaler.mean_ @ kernel])
    if reference:
        probabilities = to_class_probabilities(np.asarray(head(rows)))
        classifier.reference = fit_reference(rows, rows, probabilities, dataset.labels)
    return classifier


def save_classifier(path: Path, dataset: Dataset, reference: bool = True) -> Path:
    fit_classifier(dataset, reference).save(path)
    return path
