"""The pooled head gives what scikit-learn's logistic regression gives, on the mean and maximum of each channel."""

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from smallset.frozen import caches
from smallset.networks import models
from smallset.photos import lists
from smallset.pipeline import params
from smallset.training import pooling

P = params.PooledTraining(
    batch=4,
    epochs=1,
    learning_rate=1e-5,
    epsilon=1e-7,
    ema_momentum=None,
    class_weights="balanced",
    calibrate=False,
    C=0.1,
)


def roots(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, h, w, c) to (n, 2c)."""
    values = np.concatenate([features.mean((1, 2)), features.max((1, 2))], axis=1)
    return np.sign(values) * np.sqrt(np.abs(values))


def test_the_head_has_a_weight_for_the_mean_and_the_maximum_of_each_channel() -> None:
    assert pooling.unsolved((8, 8, 512), 2).count_params() == 1_025
    assert pooling.unsolved((8, 8, 512), 3).count_params() == 3_075


@pytest.mark.parametrize("classes", [2, 3])
def test_a_solved_head_is_logistic_regression_also_where_channels_are_negative_or_dead(classes: int) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(90, 3, 3, 4)).astype(np.float32)
    features[..., 0] = 0  # a channel that is never active
    labels = random.integers(classes, size=90)
    features[..., 1] += labels[:, None, None]
    inputs = roots(features)
    head = pooling.unsolved(features.shape[1:], classes)
    pooling.solve(head.layers[-1], inputs, labels, P)
    scaler = StandardScaler().fit(inputs)
    expected = LogisticRegression(C=P.C, class_weight="balanced").fit(scaler.transform(inputs), labels)
    given = models.per_class(head.predict(features, verbose=0))
    np.testing.assert_allclose(given, expected.predict_proba(scaler.transform(inputs)), atol=2e-3)


def test_all_views_of_the_cache_teach_it(tmp_path: Path, drawn: lists.Photos) -> None:
    path = tmp_path / "larger/train.npy"
    values = caches.create(path, drawn, (2, 2, 3), (2,))
    values[:] = np.random.default_rng(0).normal(size=values.shape)
    values[1] += 2 * drawn.labels[:, None, None, None]  # only the second view tells the classes apart
    values.flush()
    inputs = keras.Input((2, 2, 3))
    top = keras.Model(inputs, keras.layers.Activation("linear")(inputs), name="top")
    cache = caches.read(path, drawn)
    outputs = pooling.outputs(top, cache)
    np.testing.assert_array_equal(outputs, values.reshape(-1, 2, 2, 3).astype(np.float32))
    probability = pooling.head(top, cache, P).predict(values[1].astype(np.float32), verbose=0)[:, 0]
    assert probability[drawn.labels == 1].min() > probability[drawn.labels == 0].max()
