"""The chapter's networks have the weights that the book prints."""

import numpy as np
import pytest
from networks import BOOK, convnet
from pipelines import ROOT

from smallset.models import convnets, heads
from smallset.pipeline import params


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
    p = params.read(ROOT / pipeline / "params.yaml")
    model = convnets.convnet(p.image.side, classes, getattr(p, key))
    assert model.count_params() == weights
    assert model.output_shape == (None, 1 if classes == 2 else classes)


def test_the_head_has_3277313_weights() -> None:
    assert heads.book((5, 5, 512), 2, 256, 0.5).count_params() == 3_277_313


@pytest.mark.parametrize(("pooled", "smallest"), [(4, 78), (0, 11), (5, 94)])
def test_the_smallest_size_leaves_the_convnet_a_pixel(pooled: int, smallest: int) -> None:
    p = BOOK.model_copy(update={"pooled": pooled})
    assert p.smallest == smallest
    assert convnets.convnet(smallest, 2, p).layers[-3].output.shape[1:3] == (1, 1)
    with pytest.raises(ValueError, match="output size would be zero or negative"):
        convnets.convnet(smallest - 1, 2, p)


def test_a_grey_convnet_sees_no_color() -> None:
    model = convnets.convnet(28, 10, BOOK.model_copy(update={"filters": [4], "pooled": 1, "color": "grey"}))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 28, 28, 3)).astype(np.float32)
    np.testing.assert_allclose(model(pixels), model(pixels[..., ::-1]), rtol=1e-5)


def test_a_chain_shares_the_weights_of_its_parts() -> None:
    network, features = convnet(78, 2), np.ones((2, 78, 78, 3), np.float32)
    chain = convnets.chain([network], "chain")
    np.testing.assert_array_equal(chain(features), network(features))
    network.layers[-1].bias.assign([9.0])
    np.testing.assert_array_equal(chain(features), network(features))
    assert chain.get_layer("convnet") is network


def test_more_than_two_classes_share_a_softmax() -> None:
    for model in (convnet(78, 3), heads.book((2, 2, 8), 3, 4, 0.5)):
        given = np.ones((2, *model.input_shape[1:]), np.float32)
        np.testing.assert_allclose(np.asarray(model(given)).sum(axis=1), [1, 1], rtol=1e-6)
