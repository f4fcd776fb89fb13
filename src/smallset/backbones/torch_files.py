"""Read tensors that torch saved before its version 1.6, without torch and without trusting the file.

Such a file has five pickles (a magic number, the protocol, facts about the machine, the object, the keys of its
storages), then the length and the values of each storage: see `_legacy_save` in torch/serialization.py.
"""

import io
import math
import pickle
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline.errors import SmallsetError

TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}  # all that these networks use

Tensors = dict[str, NDArray[np.generic]]


class _Storage(NamedTuple):
    dtype: str
    key: str
    length: int


class _Tensor(NamedTuple):
    """A view into a storage; offset and strides count values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> _Tensor:
    """Replaces torch._utils._rebuild_tensor_v2, whose last arguments concern only training."""
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Builds mappings, numbers, text and views; refuses anything else before it is called."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in TYPES:
            return TYPES[name]  # a text, which no pickle can call
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no tensor needs")

    def persistent_load(self, pid: object) -> _Storage:
        match pid:
            case ("storage", str(dtype), str(key), _, int(length), None) if dtype in TYPES.values() and length >= 0:
                return _Storage(dtype, key, length)
        raise pickle.UnpicklingError(f"not a storage of numbers: {str(pid)[:80]}")


def read(content: bytes, name: str) -> Tensors:
    """The tensors of a saved state by name, in its order; SmallsetError, with the file's `name`, for anything else."""
    try:
        return _read(io.BytesIO(content))
    except Exception as error:  # noqa: BLE001 - a broken or hostile pickle raises errors of any type
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        expected = "expected tensors that torch saved before its version 1.6"
        raise SmallsetError(f"{name}: {expected}: {reason}. Download the file again.") from None


def _read(file: io.BytesIO) -> Tensors:
    _, _, _, state, keys = (_Unpickler(file).load() for _ in range(5))
    if not isinstance(state, dict) or not all(isinstance(item, _Tensor) for item in state.values()):
        raise TypeError("it contains more than tensors by name")
    storages = {tensor.storage.key: tensor.storage for tensor in state.values()}
    contents = {}
    for key in keys:
        file.read(8)  # the length, which the storage has as well
        contents[key] = file.read(storages[key].length * np.dtype(storages[key].dtype).itemsize)
    return {str(name): _view(contents[tensor.storage.key], tensor) for name, tensor in state.items()}


def _view(content: bytes, tensor: _Tensor) -> NDArray[np.generic]:
    """The tensor as an array; NumPy refuses a view that reaches beyond the content."""
    if math.prod(tensor.shape) > tensor.storage.length:  # with strides of 0, a few bytes would fill the memory
        raise ValueError("it has a tensor larger than its storage")
    dtype = np.dtype(tensor.storage.dtype)
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    return np.ndarray(tensor.shape, dtype, content, tensor.offset * dtype.itemsize, strides).copy()
