"""Tensors of a file that torch saved before its version 1.6, read without torch and without trusting the file.

Such a file is five pickles on end (a magic number, the protocol, facts of the machine, the object, the keys of its
storages), then of each storage its length and its values: `_legacy_save` in torch/serialization.py writes it.
"""

import io
import math
import pickle
import struct
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallset.pipeline.errors import SmallsetError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}  # all that these networks are made of

Tensors = dict[str, NDArray[np.generic]]


class Storage(NamedTuple):
    """A row of values that the file brings after its pickles."""

    dtype: str
    key: str
    length: int


class Tensor(NamedTuple):
    """A view into a storage; offset and strides in values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def rebuild(storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> Tensor:
    """In place of torch._utils._rebuild_tensor_v2, whose last arguments are of training alone."""
    return Tensor(storage, offset, shape, strides)


class Unpickler(pickle.Unpickler):
    """Builds mappings, numbers, text and views; whatever else a pickle asks for is refused before it is called."""

    def find_class(self, module: str, name: str) -> object:
        """What stands for a name in the file. The types of storages are plain text, which no pickle can call."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return rebuild
        if module == "torch" and name in TYPES:
            return TYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and a tensor needs no such thing")

    def persistent_load(self, pid: object) -> Storage:
        """A storage: ("storage", type, key, device, length, None)."""
        match pid:
            case ("storage", str(dtype), str(key), _, int(length), None) if dtype in TYPES.values() and length >= 0:
                return Storage(dtype, key, length)
        raise pickle.UnpicklingError(f"not a storage of numbers: {str(pid)[:80]}")


def read(data: bytes, name: str) -> Tensors:
    """The tensors of a saved state, by their names and in its order; `name` of the file is for the error."""
    try:
        return _read(io.BytesIO(data))
    except Exception as error:  # noqa: BLE001 - a broken or hostile pickle raises whatever it likes
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise SmallsetError(
            f"{name}: not tensors as torch saved them before 1.6: {why}. Get the file again from where it is published."
        ) from None


def _read(file: io.BytesIO) -> Tensors:
    magic, protocol = (Unpickler(file).load() for _ in range(2))
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise ValueError("its magic number is another")
    Unpickler(file).load()  # of the machine that wrote it: not needed, sizes and order of bytes are fixed
    state = Unpickler(file).load()
    keys = Unpickler(file).load()
    if not isinstance(state, dict) or not all(isinstance(item, Tensor) for item in state.values()):
        raise TypeError("it holds more than tensors by name")
    needed = {tensor.storage.key: tensor.storage for tensor in state.values()}
    values = {key: _values(file, needed[key]) for key in keys}
    return {str(name): _view(values[tensor.storage.key], tensor) for name, tensor in state.items()}


def _values(file: io.BytesIO, storage: Storage) -> bytes:
    """The next storage, whose length the file says twice."""
    (length,) = struct.unpack("<q", file.read(8))
    data = file.read(storage.length * np.dtype(storage.dtype).itemsize)
    if length != storage.length or len(data) != length * np.dtype(storage.dtype).itemsize:
        raise ValueError("it ends too soon")
    return data


def _view(data: bytes, tensor: Tensor) -> NDArray[np.generic]:
    """The tensor as an array of its own; NumPy refuses a view that reaches beyond the data."""
    if math.prod(tensor.shape) > tensor.storage.length:  # by strides of 0, a few bytes would fill the memory
        raise ValueError("it has a tensor larger than its storage")
    dtype = np.dtype(tensor.storage.dtype)
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    return np.ndarray(tensor.shape, dtype, data, tensor.offset * dtype.itemsize, strides).copy()
