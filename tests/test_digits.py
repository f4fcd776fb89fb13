"""MNIST in its two formats becomes the same class folders; what is no such file is named."""

import gzip
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from smallset.datasets import digits, lists
from smallset.images import decoding
from smallset.pipeline.errors import SmallsetError

RANDOM = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "x_train": RANDOM.integers(0, 256, (40, 28, 28), np.uint8),
    "y_train": np.arange(40, dtype=np.uint8) % 10,
    "x_test": RANDOM.integers(0, 256, (20, 28, 28), np.uint8),
    "y_test": np.arange(20, dtype=np.uint8) % 10,
}


def npz(path: Path) -> Path:
    np.savez(path, **ARRAYS)
    return path


def idx(folder: Path, packed: bool) -> Path:
    folder.mkdir()
    for name, stem in zip(digits.ARRAYS, digits.IDX, strict=True):
        values = ARRAYS[name]
        content = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes()
        path = folder / f"{stem}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("kind", ["npz", "idx", "idx.gz"])
def test_each_digit_is_a_png_in_its_class_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    source = npz(tmp_path / "mnist.npz") if kind == "npz" else idx(tmp_path / "idx", kind == "idx.gz")
    monkeypatch.setenv("SMALLSET_MNIST", str(source))
    target = tmp_path / "raw"
    target.mkdir()
    assert digits.fill(target) == source
    found = lists.find(target)
    assert found.classes == tuple("0123456789")
    assert len(found.files) == 60
    listed = pd.read_csv(target / "photos.csv", dtype=str)
    assert listed.groupby("split").size().to_dict() == {"train": 36, "validation": 4, "test": 20}
    for row in (0, 37):
        pixels = decoding.decode(target / f"{row % 10}/train-{row}.png")
        np.testing.assert_array_equal(pixels, np.repeat(ARRAYS["x_train"][row][..., None], 3, axis=-1))
    assert listed.loc[listed.file == "7/train-37.png", "split"].item() == "validation"


def test_without_a_file_keras_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMALLSET_MNIST", raising=False)

    def fails() -> None:
        raise Exception("URL fetch failure")  # noqa: TRY002  as Keras does

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fails)
    with pytest.raises(SmallsetError, match=r"did not download: URL fetch failure. .* SMALLSET_MNIST=/path/of/mnist"):
        digits.fill(tmp_path)
    pairs = ((ARRAYS["x_train"], ARRAYS["y_train"]), (ARRAYS["x_test"], ARRAYS["y_test"]))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: pairs)
    assert digits.fill(tmp_path) is None
    assert len(lists.find(tmp_path).files) == 60


@pytest.mark.parametrize("broken", ["missing", "text", "arrays", "pickle", "rows", "short idx", "no idx", "few idx"])
def test_what_is_no_mnist_is_named_with_the_cure(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "mnist.npz"
    if broken == "text":
        path.write_text("no zip")
    elif broken == "arrays":
        np.savez(path, x_train=ARRAYS["x_train"])
    elif broken == "pickle":
        np.savez(path, **ARRAYS | {"y_test": np.array([object()])})
    elif broken == "rows":
        np.savez(path, **ARRAYS | {"y_test": ARRAYS["y_test"][:3]})
    elif broken != "missing":
        path = idx(tmp_path / "idx", packed=False)
        images = path / "t10k-images-idx3-ubyte"
        images.write_bytes(images.read_bytes()[:99] if broken == "short idx" else b"no idx")
        if broken == "few idx":
            images.unlink()
    with pytest.raises(SmallsetError, match=rf"{path}: expected"):
        digits.read(path)
