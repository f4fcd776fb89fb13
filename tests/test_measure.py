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


def test_each_photo_is_measured_in_one_pass(drawn: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Mock(side_effect=decoding.decode)
    monkeypatch.setattr(decoding, "decode", decode)
    drawn.paths[3].write_bytes(b"")
    measured, left_out = measure(drawn)
    assert sorted(call.args[0] for call in decode.mock_calls) == drawn.paths
    assert left_out == {"cat/cat.3.jpg": "does not decode as a photo: it is empty"}
    assert measured.table["file"].tolist() == [file for file in drawn.table["file"] if file not in left_out]
    assert measured.sha256 == [files.sha256(path) for path in measured.paths]
    assert [*measured.table.columns[-6:]] == [*PROPERTIES]
    assert (measured.table[["width", "height"]] == 80).all(axis=None)
    shares = measured.table[["brightness", "sharpness", "saturation"]]
    assert ((shares > 0.05) & (shares < 0.95)).all(axis=None)


def test_the_table_is_read_as_it_was_written(drawn: Dataset, tmp_path: Path) -> None:
    measured, _ = measure(drawn)
    measured.write(tmp_path / "photos.csv")
    again = Dataset.read(tmp_path / "photos.csv", drawn.root)
    assert again.table.columns.tolist() == measured.table.columns.tolist()
    assert again.table.iloc[:, :7].equals(measured.table.iloc[:, :7])
    assert np.abs(again.table.iloc[:, 7:] - measured.table.iloc[:, 7:]).max(axis=None) < 1e-5


@pytest.mark.parametrize(
    ("color", "brightness", "saturation"), [("white", 1, 0), ("black", 0, 0), ((255, 0, 0), 0.299, 1)]
)
def test_plain_photos(tmp_path: Path, color: str, brightness: float, saturation: float) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (40, 20), color).save(tmp_path / label / "1.png")
    row = measure(folders.read_folder(tmp_path)[0])[0].table.iloc[0]
    assert (row["width"], row["height"], row["sharpness"]) == (40, 20, 0)
    assert row["brightness"] == pytest.approx(brightness, abs=0.003)
    assert row["saturation"] == pytest.approx(saturation)


def test_blur_lowers_the_sharpness_and_size_is_that_of_the_upright_photo(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sharp = Image.fromarray(random.integers(0, 256, (30, 60, 3), np.uint8)).resize(
        (2400, 4200), Image.Resampling.NEAREST
    )
    exif = sharp.getexif()
    exif[0x0112] = 6  # a quarter turn
    for label, radius in (("a", 0), ("b", 150)):
        (tmp_path / label).mkdir()
        sharp.filter(ImageFilter.BoxBlur(radius)).save(tmp_path / label / "1.jpg", exif=exif)
    table = measure(folders.read_folder(tmp_path)[0])[0].table
    assert table[["width", "height"]].to_numpy().tolist() == [[4200, 2400]] * 2
    assert table["sharpness"][0] > table["sharpness"][1] + 0.1


def test_only_the_first_photos_that_decode_are_measured(drawn: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in (0, 2):
        drawn.paths[row].write_bytes(b"")
    decode = Mock(side_effect=decoding.decode)
    monkeypatch.setattr(decoding, "decode", decode)
    measured, left_out = measure_first(drawn, 2)
    assert measured.table["file"].tolist() == ["cat/cat.1.jpg", "cat/cat.3.jpg", "dog/dog.0.jpg", "dog/dog.1.jpg"]
    assert [*left_out] == ["cat/cat.0.jpg", "cat/cat.2.jpg"]
    assert decode.call_count == 6
    assert len(measure_first(drawn, 9)[0]) == 8
