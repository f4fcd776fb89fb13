"""Training keeps the epoch of the lowest validation loss, with or without averaged weights, and repeats to the bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from smallset import params, training
from smallset.errors import SmallsetError

P = params.Training(batch=8, epochs=6, steps=None, learning_rate=0.3, ema_momentum=None, class_weights=None)
LABELS = np.repeat([0, 1], 32)


def data(shuffle: bool) -> tf.data.Dataset:
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 4)).astype(np.float32)
    y = (x[:, :1] + random.normal(size=(64, 1)) > 0).astype(np.float32)
    rows = tf.data.Dataset.from_tensor_slices((x, y))
    return (rows.shuffle(64, seed=0) if shuffle else rows).batch(8)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(32, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))


@pytest.mark.parametrize("ema_momentum", [None, 0.9])
def test_the_epoch_with_the_lowest_validation_loss_is_kept(ema_momentum: float | None) -> None:
    trained = model()
    history = training.fit(
        trained, data(True), data(False), LABELS, P.model_copy(update={"ema_momentum": ema_momentum})
    )
    assert list(history.columns) == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch.tolist() == [1, 2, 3, 4, 5, 6]
    trained.compile(loss="binary_crossentropy")
    assert history.val_loss.to_numpy().argmin() < P.epochs - 1
    assert trained.evaluate(data(False), verbose=0)[0] == pytest.approx(history.val_loss.min(), rel=1e-4)


def test_averaged_weights_are_not_the_plain_ones() -> None:
    plain, averaged = (
        training.fit(model(), data(True), data(False), LABELS, P.model_copy(update={"ema_momentum": momentum}))
        for momentum in (None, 0.9)
    )
    assert plain.loss.iloc[0] == pytest.approx(averaged.loss.iloc[0])  # the same steps in the first epoch
    assert plain.val_loss.iloc[0] != pytest.approx(averaged.val_loss.iloc[0], rel=1e-3)


def test_one_seed_gives_one_result() -> None:
    first, second = (model() for _ in range(2))
    assert training.fit(first, data(True), data(False), LABELS, P).equals(
        training.fit(second, data(True), data(False), LABELS, P)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


def test_classes_count_alike_however_many_photos_they_have() -> None:
    assert training.class_weights(np.array([0, 0, 0, 1, 2, 2])) == {0: 2 / 3, 1: 2.0, 2: 1.0}
    assert training.class_weights(LABELS) is None
    rare = np.array([0] * 60 + [1] * 4)
    weighted, plain = (
        training.fit(model(), data(False), data(False), rare, P.model_copy(update={"class_weights": way}))
        for way in ("balanced", None)
    )
    assert not weighted.equals(plain)


def test_a_rate_at_which_the_loss_overflows_is_named_with_the_cure() -> None:
    with pytest.raises(
        SmallsetError, match="no finite number .* learning_rate 1e\\+30. Lower this stage's learning_rate"
    ):
        training.fit(model(), data(True), data(False), LABELS, P.model_copy(update={"learning_rate": 1e30}))
