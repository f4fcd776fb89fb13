"""MNIST in its two formats becomes the same class folders."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from smallset.datasets import digits, folders
from smallset.images import decoding
from smallset.pipeline.errors import SmallsetError

RANDOM = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "x_train": RANDOM.integers(0, 256, (40, 28, 28), np.uint8),
    "y_train": np.arange(40, dtype=np.uint8) % 10,
    "x_test": RANDOM.integers(0, 256, (20, 28, 28), np.uint8),
    "y_test": np.arange(20, dtype=np.uint8) % 10,
}


def idx(folder: Path, packed: bool) -> Path:
    folder.mkdir()
    for name, stem in zip(digits.ARRAYS, digits.IDX, strict=True):
        values = ARRAYS[name]
        content = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes()
        path = folder / f"{stem}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


@pytest.mark.parametrize("kind", ["npz", "idx", "idx.gz"])
def test_each_digit_is_a_png_in_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    source = tmp_path / "mnist.npz" if kind == "npz" else idx(tmp_path / "idx", kind == "idx.gz")
    if kind == "npz":
        np.savez(source, **ARRAYS)
    monkeypatch.setenv("SMALLSET_MNIST", str(source))
    raw, table = tmp_path / "raw", tmp_path / "raw/photos.csv"
    raw.mkdir()
    assert digits.write(raw, table) == source
    photos, _ = folders.read_folder(raw, table)
    assert photos.classes == tuple("0123456789")
    assert [len(photos.train), len(photos.validation), len(photos.test)] == [36, 4, 20]
    for row in (0, 37):
        pixels = decoding.decode(raw / f"{row % 10}/train-{row}.png")
        np.testing.assert_array_equal(pixels, np.repeat(ARRAYS["x_train"][row][..., None], 3, axis=-1))
    assert "7/train-37.png" in photos.validation.table["file"].tolist()
    assert pd.read_csv(table).columns.tolist() == ["file", "label", "split"]


@pytest.mark.parametrize("broken", ["missing", "text", "arrays", "pickle", "rows", "short idx", "no idx", "few idx"])
def test_other_files_are_refused(tmp_path: Path, broken: str) -> None:
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
