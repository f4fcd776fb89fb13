"""Rows in a file: it has no name, is read in pieces, and what was read is not memory."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from smallset.pipeline import bulk

InFile = Callable[[NDArray[Any]], bulk.Rows]


def test_a_sample_is_evenly_spaced_and_has_each_class() -> None:
    labels = np.repeat([0, 1, 2], [60, 39, 1])
    assert bulk.sample(labels, 4).tolist() == [0, 33, 60, 66, 99]
    for wanted in (100, 1000):
        np.testing.assert_array_equal(bulk.sample(labels, wanted), np.arange(100))


def test_the_file_has_no_name_and_a_full_disk_is_told(
    in_file: InFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = np.arange(12 * 503, dtype=np.float16).reshape(503, 12).astype(np.float32)
    rows = in_file(inputs)
    assert not [*tmp_path.iterdir()]
    np.testing.assert_array_equal(bulk.read(rows, slice(60, 70)), inputs[60:70])
    np.testing.assert_array_equal(bulk.read(rows[3::5], np.array([1, 9])), inputs[[8, 48]])
    np.testing.assert_array_equal(bulk.each(np.asarray, rows[:300]), inputs[:300])
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
            monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
            in_file(inputs)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux tells what memory is made of")
def test_a_file_that_was_read_is_not_memory(in_file: InFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def mapped() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssFile:")[1].split()[0])  # KiB

    rows = in_file(np.ones((2**16, 512), np.float32))  # 64 MiB
    monkeypatch.setattr(bulk, "PIECE", 2**20)
    before = mapped()
    assert rows.sum(dtype=np.float64) == 2**25
    assert mapped() > before + 60_000
    assert bulk.each(lambda part: part.sum(axis=1), rows).sum() == 2**25
    assert mapped() < before + 30_000
