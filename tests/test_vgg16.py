"""VGG16's base in two parts: the book's weights counts, the original's results, the preprocessing inside."""

from pathlib import Path

import keras
import numpy as np
import pytest

from smallset import vgg16


@pytest.fixture(scope="module")
def base(random_weights: Path) -> keras.Model:
    return vgg16.base(random_weights, 78)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 78, 78, 3)).astype(np.float32)


def test_the_base_has_the_books_weights(base: keras.Model) -> None:
    trunk, top = vgg16.split(base)
    assert (base.count_params(), len(base.weights)) == (14_714_688, 26)
    assert (top.count_params(), len(top.trainable_weights)) == (7_079_424, 6)
    assert (trunk.count_params(), len(trunk.weights)) == (14_714_688 - 7_079_424, 20)
    base.trainable = False
    assert len(base.trainable_weights) == 0
    base.trainable = True


def test_the_shapes_are_the_books_at_180_px(random_weights: Path) -> None:
    trunk, top = vgg16.split(vgg16.base(random_weights, 180))
    assert (trunk.output_shape, top.output_shape) == ((None, 11, 11, 512), (None, 5, 5, 512))


def test_raw_pixels_give_what_keras_gives_for_preprocessed_ones(
    base: keras.Model, pixels: np.ndarray, random_weights: Path
) -> None:
    plain = vgg16.plain()
    plain.load_weights(random_weights)
    expected = plain.predict(keras.applications.vgg16.preprocess_input(pixels.copy()), verbose=0)
    assert expected.std() > 0
    np.testing.assert_allclose(base.predict(pixels, verbose=0), expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_top_after_trunk_is_the_base(base: keras.Model, pixels: np.ndarray) -> None:
    trunk, top = vgg16.split(base)
    both = top.predict(trunk.predict(pixels, verbose=0), verbose=0)
    np.testing.assert_allclose(both, base.predict(pixels, verbose=0), rtol=1e-5)
