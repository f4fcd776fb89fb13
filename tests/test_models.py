"""The chapter's networks have the weights that the book prints."""

import numpy as np
import pytest

from smallset import models


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_convnet_has_991041_weights(dropout: float) -> None:
    model = models.convnet(180, 2, dropout)
    assert model.count_params() == 991_041
    assert model.output_shape == (None, 1)


def test_the_head_has_3277313_weights() -> None:
    assert models.head((5, 5, 512), 2, 256, 0.5).count_params() == 3_277_313


def test_the_smallest_size_leaves_the_convnet_a_pixel() -> None:
    assert models.convnet(78, 2).layers[-3].output.shape[1:3] == (1, 1)


def test_a_chain_shares_the_weights_of_its_parts() -> None:
    convnet, features = models.convnet(78, 2), np.ones((2, 78, 78, 3), np.float32)
    chain = models.chain([convnet], "chain")
    np.testing.assert_array_equal(chain(features), convnet(features))
    convnet.layers[-1].bias.assign([9.0])
    np.testing.assert_array_equal(chain(features), convnet(features))
    assert chain.get_layer("convnet") is convnet


def test_more_than_two_classes_share_a_softmax() -> None:
    for model in (models.convnet(78, 3), models.head((2, 2, 8), 3, 4, 0.5)):
        given = np.ones((2, *model.input_shape[1:]), np.float32)
        np.testing.assert_allclose(np.asarray(model(given)).sum(axis=1), [1, 1], rtol=1e-6)
