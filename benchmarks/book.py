"""The listings of the book's chapter 8 (Chollet 2021): float32, Keras's defaults, from pixels."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks import arithmetic
from benchmarks.rounds import Setup, Work


def prepare() -> None:
    """Change nothing: Keras's defaults."""


def read(setup: Setup, split: str) -> tf.data.Dataset:
    """Listing 8.9: batches of 32; without tf.data's autotuning.

    Its thread sleeps for 10, 20, 40 ms and so on, and the end of a pass waits until it wakes up. In a pass over few
    photos, as here, this wait would be a larger share of the time than in the book.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return keras.utils.image_dataset_from_directory(
        setup.folder / split, image_size=(setup.size, setup.size), batch_size=32
    ).with_options(options)


def vgg16(setup: Setup) -> keras.Model:
    """Listings 8.19 and 8.22, with random weights, which are as fast."""
    return keras.applications.VGG16(weights=None, include_top=False, input_shape=(setup.size, setup.size, 3))


def augmentation() -> keras.Sequential:
    """Listing 8.14."""
    return keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)])


def convnet(setup: Setup, augmented: bool = False) -> Work:
    """An epoch of the convnet from scratch, listings 8.7-8.11; augmented: with dropout, listings 8.16-8.17."""
    inputs = keras.Input((setup.size, setup.size, 3))
    x = augmentation()(inputs) if augmented else inputs
    x = layers.Rescaling(1 / 255)(x)
    for filters in (32, 64, 128, 256):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(256, 3, activation="relu")(x)
    x = layers.Flatten()(x)
    if augmented:
        x = layers.Dropout(0.5)(x)
    return epoch(keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x)), setup, "rmsprop")


def extraction(setup: Setup) -> Work:
    """Features of the photos, listing 8.20: predict() on each batch."""
    conv_base = vgg16(setup)
    dataset = read(setup, "train")

    def get_features_and_labels() -> tuple[np.ndarray, np.ndarray]:
        all_features, all_labels = [], []
        for images, labels in dataset:
            preprocessed_images = keras.applications.vgg16.preprocess_input(images)
            all_features.append(conv_base.predict(preprocessed_images))
            all_labels.append(labels)
        return np.concatenate(all_features), np.concatenate(all_labels)

    return Work(get_features_and_labels, setup.photos, setup.photos * arithmetic.flop(conv_base) / 1e9)


def classifier(setup: Setup) -> Work:
    """An epoch of the head on features in memory, listing 8.21."""
    shape = vgg16(setup).output_shape[1:]
    random = np.random.default_rng(0)
    train, validation = (
        (random.random((rows, *shape), np.float32), random.integers(2, size=rows))
        for rows in (setup.rows["train"], setup.rows["validation"])
    )
    inputs = keras.Input(shape)
    model = keras.Model(inputs, head(inputs))
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    return Work(lambda: model.fit(*train, epochs=1, validation_data=validation), len(train[0]))


def augmented(setup: Setup) -> Work:
    """An epoch of the head on augmented photos through the frozen backbone, listings 8.22-8.24."""
    conv_base = vgg16(setup)
    conv_base.trainable = False
    return epoch(end_to_end(conv_base, setup), setup, "rmsprop")


def fine_tune(setup: Setup) -> Work:
    """An epoch of block5 and the head on augmented photos, listings 8.27-8.28."""
    conv_base = vgg16(setup)
    for layer in conv_base.layers[:-4]:
        layer.trainable = False
    return epoch(end_to_end(conv_base, setup), setup, keras.optimizers.RMSprop(1e-5))


def end_to_end(conv_base: keras.Model, setup: Setup) -> keras.Model:
    """Listing 8.23: from pixels to P(dog)."""
    inputs = keras.Input((setup.size, setup.size, 3))
    x = augmentation()(inputs)
    x = keras.applications.vgg16.preprocess_input(x)
    return keras.Model(inputs, head(conv_base(x)))


def head(x: keras.KerasTensor) -> keras.KerasTensor:
    """Listing 8.21."""
    x = layers.Flatten()(x)
    x = layers.Dense(256)(x)
    x = layers.Dropout(0.5)(x)
    return layers.Dense(1, activation="sigmoid")(x)


def epoch(model: keras.Model, setup: Setup, optimizer: object) -> Work:
    """One epoch of fit, validation included, listing 8.11. Without the checkpoint on disk that the book writes."""
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    train, validation = read(setup, "train"), read(setup, "validation")
    return Work(lambda: model.fit(train, epochs=1, validation_data=validation), setup.photos)


CASES: dict[str, Callable[[Setup], Work]] = {
    "product": lambda _: arithmetic.product(),
    "convnet": convnet,
    "convnet_augmented": lambda setup: convnet(setup, augmented=True),
    "extraction": extraction,
    "classifier": classifier,
    "augmented": augmented,
    "fine_tune": fine_tune,
}
