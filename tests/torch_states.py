"""Files as torch wrote them before its version 1.6, made without torch."""

import io
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from smallset.backbones import efficientnet_lite


def stub(module: ModuleType, name: str) -> type:
    """A class that a pickle finds in the module by that name."""
    class_ = type(name, (), {"__module__": module.__name__})
    setattr(module, name, class_)
    return class_


TORCH, UTILS = ModuleType("torch"), ModuleType("torch._utils")
STORAGES = {"<f4": stub(TORCH, "FloatStorage"), "<i8": stub(TORCH, "LongStorage"), "|u1": stub(TORCH, "ByteStorage")}
REBUILD = stub(UTILS, "_rebuild_tensor_v2")


class Storage:
    """All values of an array."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


class Tensor:
    """An array that is pickled as torch pickles a tensor; offset and strides count values."""

    def __init__(self, array: np.ndarray, offset: int = 0, shape: Any = None, strides: Any = None) -> None:
        self.storage = Storage(np.ascontiguousarray(array))
        dense = tuple(stride // array.itemsize for stride in self.storage.array.reshape(array.shape).strides)
        self.view = offset, array.shape if shape is None else shape, dense if strides is None else strides

    def __reduce__(self) -> Any:
        return REBUILD, (self.storage, *self.view, False, OrderedDict())


class Pickler(pickle.Pickler):
    """Leaves the values of the storages for later."""

    def persistent_id(self, value: object) -> object:
        if not isinstance(value, Storage):
            return None
        return "storage", STORAGES[value.array.dtype.str], str(id(value)), "cpu", value.array.size, None


class State(OrderedDict[str, Any]):
    """With the versions that torch writes."""

    def __reduce__(self) -> Any:
        return OrderedDict, (), {"_metadata": OrderedDict(version=1)}, None, iter(self.items())


def save(state: Mapping[str, Any]) -> bytes:
    """The file of a state: of arrays, `Tensor`s, or whatever an attacker puts there."""
    state = State({name: Tensor(value) if isinstance(value, np.ndarray) else value for name, value in state.items()})
    file = io.BytesIO()
    for item in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
        pickle.dump(item, file, protocol=2)
    with mock.patch.dict(sys.modules, {"torch": TORCH, "torch._utils": UTILS}):
        Pickler(file, protocol=2).dump(state)
    storages = [value.storage for value in state.values() if isinstance(value, Tensor)]
    pickle.dump([str(id(storage)) for storage in storages], file, protocol=2)
    for storage in storages:
        file.write(struct.pack("<q", storage.array.size) + storage.array.tobytes())
    return file.getvalue()


def lite(name: str) -> dict[str, np.ndarray]:
    """A state as efficientnet_lite_pytorch would save it, with random values."""
    random = np.random.default_rng(0)
    state: dict[str, np.ndarray] = {}
    for weight in efficientnet_lite.create(name).weights:
        if len(weight.shape) == 1:
            continue  # a bias, from the normalization that is folded in
        layer, depthwise = weight.path.partition("/")[0], "dwconv" in weight.path
        order, kind = ((2, 3, 0, 1), "_depthwise_conv") if depthwise else ((3, 2, 0, 1), "_conv")
        kernel = random.normal(0, 0.1, [weight.shape[axis] for axis in order])
        channels = len(kernel)
        values = {
            f"{layer}.{kind}.weight": kernel,
            f"{layer}._bn.weight": random.uniform(0.5, 1.5, channels),
            f"{layer}._bn.bias": random.normal(0, 0.1, channels),
            f"{layer}._bn.running_mean": random.normal(0, 0.1, channels),
            f"{layer}._bn.running_var": random.uniform(0.5, 1.5, channels),
        }
        state |= {key: array.astype(np.float32) for key, array in values.items()}
        state[f"{layer}._bn.num_batches_tracked"] = np.array(0)
    return state | {"_fc.weight": np.zeros((10, 1280), np.float32), "_fc.bias": np.zeros(10, np.float32)}
