"""torch's old files: tensors are read as they were written, and nothing but tensors is read."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_states import Tensor, save

from smallset.backbones import torch_files
from smallset.pipeline.errors import SmallsetError

VALUES = np.arange(24, dtype=np.float32)
MESSAGE = "^x.pth: expected tensors that torch saved before its version 1.6: "


def test_tensors_are_read_as_they_were_written() -> None:
    state = {"a.weight": VALUES.reshape(2, 3, 4), "b.count": np.array(7), "c.empty": np.zeros((0, 3), np.float32)}
    tensors = torch_files.read(save(state), "x.pth")
    assert list(tensors) == list(state)
    for name, tensor in state.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert np.array_equal(tensors[name], tensor)
    transposed = Tensor(VALUES, offset=4, shape=(4, 5), strides=(1, 4))
    assert np.array_equal(torch_files.read(save({"a": transposed}), "x.pth")["a"], VALUES[4:].reshape(5, 4).T)


class Calls:
    """A pickle that calls a function when it is read."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_a_hostile_pickle_is_refused_before_it_does_anything(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for call in (Calls(os.mkdir, str(marker)), Calls(eval, f"open({str(marker)!r}, 'w')")):
        for content in (save({"a": call}), pickle.dumps(call, protocol=2)):  # as a tensor, and as the magic number
            with pytest.raises(SmallsetError, match=MESSAGE + r"it asks for \w+\.\w+, which no tensor needs"):
                torch_files.read(content, "x.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor(VALUES, offset=1), "buffer"),
        (Tensor(VALUES, offset=-1), "buffer"),
        (Tensor(VALUES, strides=(2,)), "buffer"),
        (Tensor(VALUES, strides=(-1,)), "buffer"),
        (Tensor(VALUES, shape=(10**12,), strides=(0,)), "larger than its storage"),
        (Tensor(VALUES, shape="no", strides=(1,)), ""),
        (Tensor(VALUES.astype(np.uint8)), "it asks for torch.ByteStorage"),
        (3.5, "it contains more than tensors"),
        (Calls(np.ndarray, (2, 2)), "it asks for numpy.ndarray"),
    ],
)
def test_what_is_not_a_tensor_of_the_file_is_refused(tensor: object, message: str) -> None:
    with pytest.raises(SmallsetError, match=f"{MESSAGE}.*{message}"):
        torch_files.read(save({"a": tensor}), "x.pth")


def test_other_files_give_one_line() -> None:
    complete, archive = save({"a": VALUES}), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:  # torch's format since 1.6
        file.writestr("archive/data.pkl", pickle.dumps({}))
    for content in (complete[:-1], complete[:100], b"", b"\x89HDF\r\n", archive.getvalue()):
        with pytest.raises(SmallsetError, match=MESSAGE) as error:
            torch_files.read(content, "x.pth")
        assert len(str(error.value).splitlines()) == 1
