"""The drawn sample: the same for one seed, and not to be solved pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from smallset.datasets import filling, lists, synthetic
from smallset.images import decoding
from smallset.pipeline import files

TRAINING = 200


def test_one_seed_draws_the_same_bytes_another_seed_others(tmp_path: Path) -> None:
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        synthetic.draw(tmp_path / str(number), 3, 48, seed)
        digests.append(filling.digest(lists.find(tmp_path / str(number))))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
def test_a_linear_model_on_pixels_stays_under_80_percent(tmp_path: Path) -> None:
    synthetic.draw(tmp_path, 2 * TRAINING, 48, seed=1337)
    found = lists.find(tmp_path)
    pixels = np.array([decoding.decode(path).ravel() for path in found.paths()], np.float32) / 255
    train = np.arange(len(pixels)) % 2 == 0
    for strength in (1e-4, 1e-2, 1.0):
        model = LogisticRegression(C=strength, max_iter=500).fit(pixels[train], found.labels[train])
        assert model.score(pixels[~train], found.labels[~train]) < 0.8


def test_a_picture_has_the_size_that_was_asked_for(tmp_path: Path) -> None:
    synthetic.draw(tmp_path, 1, 100, seed=0)
    with Image.open(tmp_path / "cat/cat.0.jpg") as image:
        assert (image.size, image.mode) == ((100, 100), "RGB")
    assert files.sha256(tmp_path / "cat/cat.0.jpg") != files.sha256(tmp_path / "dog/dog.0.jpg")
