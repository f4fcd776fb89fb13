"""MNIST as photos in class folders: each digit is a gray PNG of 28 x 28 px."""

import gzip
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from smallset.datasets import downloads
from smallset.pipeline import files, params, progress
from smallset.pipeline.errors import SmallsetError

MIRROR = params.Mirror(  # the file that keras.datasets.mnist downloads
    url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")  # the original files
VALIDATION = 10  # the last one in so many training digits is for validation, which the book does without

Arrays = Mapping[str, NDArray[np.uint8]]


def write(target: Path, table: Path) -> Path:
    """Write `target`/<digit>/<part>-<row>.png, and their splits to `table`; return the archive or folder used."""
    source = downloads.locate([MIRROR], "SMALLSET_MNIST", "mnist.npz")
    arrays, rows = read(source), []
    for part in ("train", "test"):
        labels = arrays[f"y_{part}"]
        first = len(labels) - len(labels) // VALIDATION  # of the validation digits
        for row in progress.bar(range(len(labels)), what=f"writing {part}", unit=" digits"):
            file = f"{labels[row]}/{part}-{row}.png"
            (target / file).parent.mkdir(exist_ok=True)
            Image.fromarray(arrays[f"x_{part}"][row]).save(target / file)
            rows.append((file, labels[row], "validation" if part == "train" and row >= first else part))
    files.write_csv(table, pd.DataFrame(rows, columns=["file", "label", "split"]))
    return source


def read(source: Path) -> Arrays:
    """Images (n, 28, 28) and labels (n,), uint8, from Keras's mnist.npz or a folder of idx files, perhaps gzipped.

    Fashion-MNIST has the same formats.
    """
    try:
        if source.is_dir():
            paths = {path.name.removesuffix(".gz").removesuffix("-ubyte"): path for path in sorted(source.iterdir())}
            arrays = {name: _read_idx(paths[stem]) for name, stem in zip(ARRAYS, IDX, strict=True)}
        else:
            with np.load(source, allow_pickle=False) as content:
                arrays = {name: content[name] for name in ARRAYS}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        names = f"mnist.npz with {', '.join(ARRAYS)}, or a folder with {', '.join(IDX)}"
        raise SmallsetError(
            f"{source}: expected {names}: {error}. Set SMALLSET_MNIST to such a file or folder."
        ) from None
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.ndim != 3 or y.shape != x.shape[:1] or not len(y):
            problem = (
                f"expected uint8 pictures (n, height, width) and n labels; found {x.dtype} {x.shape} and {y.shape}"
            )
            raise SmallsetError(f"{source}: {problem}. Set SMALLSET_MNIST to such a file or folder.")
    return arrays


def _read_idx(file: Path) -> NDArray[np.uint8]:
    """Two zeros, 8 for uint8, the number of dimensions, each dimension as a big-endian int32, then the values."""
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{file.name} is not an idx file of bytes")
    shape = np.frombuffer(content, ">i4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
