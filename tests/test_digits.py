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


def write(folder: Path, kind: str, **changes: Any) -> Path:
    """Write the arrays as npz, idx or idx.gz."""
    if kind == "npz":
        np.savez(folder / "mnist.npz", **ARRAYS | changes)
        return folder / "mnist.npz"
    for name, stem in zip(digits.ARRAYS, digits.IDX, strict=True):
        values = ARRAYS[name]
        content = b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes()
        content = changes.get(name, content)
        path = folder / f"{stem}-ubyte{kind.removeprefix('idx')}"
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return folder


@pytest.mark.parametrize("kind", ["npz", "idx", "idx.gz"])
def test_each_digit_is_a_png_in_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    source = write(tmp_path, kind)
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


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("npz", {"y_test": np.array([object()])}),
        ("npz", {"y_test": ARRAYS["y_test"][:3]}),
        ("idx", {"x_test": b"\0\0\x08\3" + bytes(95)}),
        ("idx", {"x_test": b"no idx"}),
    ],
)
def test_broken_and_missing_files_are_refused(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    np.savez(tmp_path / "few.npz", x_train=ARRAYS["x_train"])
    (tmp_path / "empty").mkdir()
    for source in (write(tmp_path, kind, **changes), tmp_path / "few.npz", tmp_path / "empty", tmp_path / "none.npz"):
        with pytest.raises(SmallsetError, match=rf"{source}: expected .*Set SMALLSET_MNIST"):
            digits.read(source)
