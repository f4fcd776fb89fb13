"""The properties of photos, and what is left out."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageFilter

from smallset.datasets import folders
from smallset.datasets.dataset import Dataset
from smallset.datasets.measure import PROPERTIES, measure, measure_first
from smallset.images import decoding
from smallset.pipeline import files


@pytest.fixture
def decode(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The decoder, which counts its calls."""
    decode = Mock(side_effect=decoding.decode_with_size)
    monkeypatch.setattr(decoding, "decode_with_size", decode)
    return decode


def save(folder: Path, *images: Image.Image, name: str = "1.png") -> Dataset:
    """Save each image in a class of its own."""
    for number, image in enumerate(images):
        (folder / f"{number}").mkdir()
        image.save(folder / f"{number}" / name, exif=image.getexif())
    return folders.read_folder(folder)[0]


def test_each_photo_is_measured_in_one_pass_and_read_as_it_was_written(drawn: Dataset, decode: Mock) -> None:
    drawn.paths[3].write_bytes(b"")
    measured, left_out = measure(drawn)
    assert sorted(call.args[0] for call in decode.mock_calls) == drawn.paths
    assert left_out == {"cat/cat.3.jpg": "does not decode as a photo: it is empty"}
    assert measured.table["file"].tolist() == [file for file in drawn.table["file"] if file not in left_out]
    assert measured.sha256 == [files.sha256(path) for path in measured.paths]
    assert [*measured.table.columns[-7:]] == [*PROPERTIES]
    assert (measured.table[["width", "height"]] == 80).all(axis=None)
    shares = measured.table[["brightness", "sharpness", "saturation"]]
    assert ((shares > 0.05) & (shares < 0.95)).all(axis=None)
    measured.write(drawn.root / "photos.csv")
    again = Dataset.read(drawn.root / "photos.csv", drawn.root).table.astype({"pixels": object})
    assert again.columns.tolist() == measured.table.columns.tolist()
    assert again.iloc[:, :8].equals(measured.table.iloc[:, :8])
    assert np.abs(again.iloc[:, 8:] - measured.table.iloc[:, 8:]).max(axis=None) < 1e-5


def test_only_the_first_photos_that_decode_are_measured(drawn: Dataset, decode: Mock) -> None:
    for row in (0, 2):
        drawn.paths[row].write_bytes(b"")
    measured, left_out = measure_first(drawn, 2)
    assert measured.table["file"].tolist() == ["cat/cat.1.jpg", "cat/cat.3.jpg", "dog/dog.0.jpg", "dog/dog.1.jpg"]
    assert [*left_out] == ["cat/cat.0.jpg", "cat/cat.2.jpg"]
    assert decode.call_count == 6
    assert len(measure_first(drawn, 9)[0]) == 8


def test_plain_photos(tmp_path: Path) -> None:
    colors = ("white", "black", "red")
    table = measure(save(tmp_path, *(Image.new("RGB", (40, 20), color) for color in colors)))[0].table
    assert (table[["width", "height", "sharpness"]] == [40, 20, 0]).all(axis=None)
    assert table["brightness"].tolist() == pytest.approx([1, 0, 0.299], abs=0.003)
    assert table["saturation"].tolist() == pytest.approx([0, 0, 1])


def test_blur_lowers_the_sharpness_and_size_is_that_of_the_upright_photo(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 60, 3), np.uint8))
    sharp = noise.resize((2400, 4200), Image.Resampling.NEAREST)
    blurred = sharp.filter(ImageFilter.BoxBlur(150))
    for image in (sharp, blurred):
        image.getexif()[0x0112] = 6  # a quarter turn
    table = measure(save(tmp_path, sharp, blurred, name="1.jpg"))[0].table
    assert table[["width", "height"]].to_numpy().tolist() == [[4200, 2400]] * 2
    assert table["sharpness"][0] > table["sharpness"][1] + 0.1
