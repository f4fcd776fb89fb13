"""The chapter's networks have the numbers of weights that the book prints, and give probabilities."""

from pathlib import Path

import numpy as np
import pytest
from networks import BOOK, convnet

from smallset.models import convnets
from smallset.models.probabilities import to_class_probabilities
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("pipeline", "key", "classes", "weights"),
    [
        (".", "convnet", 2, 991_041),
        (".", "convnet_augmented", 2, 991_041),
        ("first-edition", "convnet", 2, 3_453_121),
        ("first-edition", "convnet_augmented", 2, 3_453_121),
        ("mnist", "convnet", 10, 104_202),
        ("mnist", "convnet_unpooled", 10, 712_202),
    ],
)
def test_the_convnets_have_the_weights_that_the_books_print(
    pipeline: str, key: str, classes: int, weights: int
) -> None:
    shared = {key: params.load(ROOT / "params.yaml")[key] for key in ("seed", "precision")}
    p = params.parse(shared | params.load(ROOT / pipeline / "params.yaml"))
    network = convnets.convnet(p.image_size, classes, getattr(p, key))
    assert network.count_params() == weights
    assert network.output_shape == (None, 1 if classes == 2 else classes)


@pytest.mark.parametrize(("max_pooling", "smallest"), [(4, 78), (0, 11), (5, 94)])
def test_the_smallest_size_leaves_the_convnet_one_pixel(max_pooling: int, smallest: int) -> None:
    p = BOOK.model_copy(update={"max_pooling": max_pooling})
    assert p.smallest == smallest
    assert convnets.convnet(smallest, 2, p).layers[-3].output.shape[1:3] == (1, 1)
    with pytest.raises(ValueError, match="output size would be zero or negative"):
        convnets.convnet(smallest - 1, 2, p)


def test_a_grayscale_convnet_ignores_colors() -> None:
    p = BOOK.model_copy(update={"filters": [4], "max_pooling": 1, "color": "grayscale"})
    network, pixels = convnets.convnet(28, 10, p), np.random.default_rng(0).uniform(0, 255, (2, 28, 28, 3))
    np.testing.assert_allclose(network(pixels), network(pixels[..., ::-1]), rtol=1e-5)


def test_joined_parts_share_their_weights_and_the_head_has_those_that_the_book_prints() -> None:
    assert convnets.book_head((5, 5, 512), 2, 256, 0.5).count_params() == 3_277_313
    network, pixels = convnet(78, 2), np.ones((2, 78, 78, 3), np.float32)
    joined = convnets.join([network], "joined")
    np.testing.assert_array_equal(joined(pixels), network(pixels))
    network.layers[-1].bias.assign([9.0])
    np.testing.assert_array_equal(joined(pixels), network(pixels))
    assert joined.get_layer("convnet") is network


def test_a_sigmoid_becomes_two_columns_and_a_softmax_stays() -> None:
    np.testing.assert_allclose(to_class_probabilities(np.array([[0.25]])), [[0.75, 0.25]])
    rows = np.array([[0.2, 0.8], [0.5, 0.5]], np.float32)
    np.testing.assert_array_equal(to_class_probabilities(rows), rows)


@pytest.mark.parametrize("values", [[[288.0]], [[np.nan]], [[0.2, 0.3]], [[-0.5, 1.5]], [[0.9, 0.9, 0.1]]])
def test_other_values_are_refused(values: list[list[float]]) -> None:
    with pytest.raises(SmallsetError, match=r"not probabilities: expected values in 0\.\.1 with a sum of 1 per photo"):
        to_class_probabilities(np.array(values))
