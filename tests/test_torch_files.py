"""torch's old files: tensors come out as they went in, and nothing but tensors comes out."""

import io
import os
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_states import Tensor, saved

from smallset.backbones import torch_files
from smallset.pipeline.errors import SmallsetError

VALUES = np.arange(24, dtype=np.float32)


def test_tensors_come_out_as_they_went_in() -> None:
    state = {"a.weight": VALUES.reshape(2, 3, 4), "b.count": np.array(7), "c.empty": np.zeros((0, 3), np.float32)}
    found = torch_files.read(saved(state), "x.pth")
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert np.array_equal(found[name], tensor)


def test_a_view_keeps_its_offset_and_its_strides() -> None:
    turned = Tensor(VALUES, offset=4, shape=(4, 5), strides=(1, 4))
    found = torch_files.read(saved({"turned": turned}), "x.pth")["turned"]
    assert np.array_equal(found, VALUES[4:].reshape(5, 4).T)


class Calls:
    """A pickle that calls a function when it is read."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_a_hostile_pickle_is_refused_before_it_does_anything(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    hostile = [Calls(os.mkdir, str(mark)), Calls(eval, f"open({str(mark)!r}, 'w')"), Calls(subprocess.getoutput, "id")]
    for one in hostile:
        with pytest.raises(SmallsetError, match=r"^x.pth: not tensors as torch .*: it asks for \w+\.\w+, and a tensor"):
            torch_files.read(saved({"a": one}), "x.pth")
        with pytest.raises(SmallsetError, match="it asks for"):  # in place of the magic number
            torch_files.read(pickle.dumps(one, protocol=2), "x.pth")
    assert not mark.exists()


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
        (3.5, "it holds more than tensors"),
        (Calls(np.ndarray, (2, 2)), "it asks for numpy.ndarray"),
    ],
)
def test_what_is_no_tensor_of_the_file_is_refused(tensor: object, message: str) -> None:
    with pytest.raises(SmallsetError, match=f"^x.pth: not tensors as torch saved them before 1.6: .*{message}"):
        torch_files.read(saved({"a": tensor}), "x.pth")


def test_another_file_is_named_in_one_line() -> None:
    whole, archive = saved({"a": VALUES}), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:  # torch's format of today
        zipped.writestr("archive/data.pkl", pickle.dumps({}))
    others = (whole[:-1], whole[:100], b"", b"\x89HDF\r\n", archive.getvalue(), saved({"a": VALUES}, magic=1))
    for data in others:
        with pytest.raises(SmallsetError, match="^x.pth: not tensors as torch saved them before 1.6: .*again") as error:
            torch_files.read(data, "x.pth")
        assert len(str(error.value).splitlines()) == 1
