"""MNIST as photos in class folders: each digit a PNG of 28 x 28 px, grey."""

import gzip
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from smallset.datasets import names
from smallset.pipeline import files, progress
from smallset.pipeline.errors import SmallsetError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")  # the same, as first published
HELD_OUT = 10  # the last tenth of the training digits is for validation, of which the book has none

Arrays = Mapping[str, NDArray[np.uint8]]


def fill(target: Path) -> Path | None:
    """Write `target`/<digit>/<part>-<row>.png and photos.csv; return the local file or folder that they come from."""
    source = local()
    arrays = read(source) if source else from_keras()
    rows = []
    for split, part, first, last in splits(len(arrays["y_train"]), len(arrays["y_test"])):
        for row in progress.bar(range(first, last), what=f"writing {split}", unit=" digits"):
            label = str(arrays[f"y_{part}"][row])
            file = f"{label}/{part}-{row}.png"
            (target / label).mkdir(exist_ok=True)
            Image.fromarray(arrays[f"x_{part}"][row]).save(target / file)
            rows.append((file, label, split))
    files.write_csv(target / names.INDEX, pd.DataFrame(rows, columns=["file", "label", "split"]))
    return source


def splits(train: int, test: int) -> list[tuple[str, str, int, int]]:
    """Each split, the part of MNIST that it is of, and its first row and the one after its last."""
    kept = train - train // HELD_OUT
    return [("train", "train", 0, kept), ("validation", "train", kept, train), ("test", "test", 0, test)]


def local() -> Path | None:
    """What the environment names: where it lies on a disk is no part of the experiment."""
    name = os.environ.get("SMALLSET_MNIST")
    return Path(name) if name else None


def from_keras() -> Arrays:
    """What keras.datasets.mnist downloads, once, and checks."""
    import keras  # with TensorFlow it takes seconds, which no other source needs

    try:
        (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises no narrower one
        raise SmallsetError(
            f"keras.datasets.mnist did not download: {error}. Get mnist.npz with a browser and name it: "
            f"SMALLSET_MNIST=/path/of/mnist.npz dvc repro"
        ) from error
    return dict(zip(ARRAYS, (x_train, y_train, x_test, y_test), strict=True))


def read(source: Path) -> Arrays:
    """x (n, 28, 28) and y (n,), uint8, of Keras's mnist.npz or of a folder with the four idx files, gzipped or not."""
    try:
        arrays = from_folder(source) if source.is_dir() else from_npz(source)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SmallsetError(
            f"{source}: expected mnist.npz with {', '.join(ARRAYS)}, or a folder with {', '.join(IDX)}: {error}. "
            f"SMALLSET_MNIST names it."
        ) from None
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.ndim != 3 or y.shape != x.shape[:1] or not len(y):
            raise SmallsetError(
                f"{source}: expected pictures (n, height, width), uint8, and n labels; "
                f"found {x.shape}, {x.dtype}, and {y.shape}."
            )
    return arrays


def from_npz(file: Path) -> Arrays:
    """Nothing in the file is unpickled."""
    with np.load(file, allow_pickle=False) as content:
        return {name: content[name] for name in ARRAYS}


def from_folder(folder: Path) -> Arrays:
    """The files of LeCun's page, and of Fashion-MNIST in the same format."""
    found = {path.name.removesuffix(".gz").removesuffix("-ubyte"): path for path in sorted(folder.iterdir())}
    return {name: from_idx(found[stem]) for name, stem in zip(ARRAYS, IDX, strict=True)}


def from_idx(file: Path) -> NDArray[np.uint8]:
    """Two zeros, 8 for uint8, the number of dimensions, each as a big-endian int32, then the values."""
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{file.name} is no idx file of bytes")
    shape = np.frombuffer(content, ">i4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
