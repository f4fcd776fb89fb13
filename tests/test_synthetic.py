"""Generated pictures: the same for the same seed, and not to be classified pixel by pixel."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from smallset.datasets import folders, synthetic
from smallset.images import decoding


def test_a_seed_determines_the_bytes(tmp_path: Path) -> None:
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        synthetic.draw(tmp_path / str(number), 3, 48, seed)
        paths = sorted((tmp_path / str(number)).rglob("*.jpg"))
        digests.append(hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest())
    assert digests[0] == digests[1] != digests[2]
    with Image.open(tmp_path / "0/cat/cat.0.jpg") as image:
        assert (image.size, image.mode) == ((48, 48), "RGB")


@pytest.mark.slow
def test_a_linear_model_on_pixels_stays_below_80_percent(tmp_path: Path) -> None:
    synthetic.draw(tmp_path, 400, 48, seed=1337)
    photos, _ = folders.read_folder(tmp_path)
    pixels = np.array([decoding.decode(path).ravel() for path in photos.paths], np.float32) / 255
    train = np.arange(len(pixels)) % 2 == 0
    for strength in (1e-4, 1e-2, 1.0):
        model = LogisticRegression(C=strength, max_iter=500).fit(pixels[train], photos.labels[train])
        assert model.score(pixels[~train], photos.labels[~train]) < 0.8
