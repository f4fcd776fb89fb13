"""Rows of numbers that may be too many for memory: those are in a file, float16, and read a piece at a time."""

import mmap
import tempfile
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

HELD = 2**28  # bytes: rows that take more as float32 are in a file; of 1,280 numbers, 52,428 are held
PIECE = 2**20  # numbers of a file that are read at once: as float32 they fit a processor's cache
FOLDER = "."  # of the file; it has no name there, so that its room is free when the process ends, however it ends

Rows = NDArray[Any]  # float32 in memory, float16 in a file


def gathered(parts: Iterable[NDArray[np.float32]], count: int) -> Rows:
    """The parts (b, ...) one below the other, (count, ...): in memory, or if they take more than HELD, in a file.

    A full disk is an OSError.
    """
    parts = iter(parts)
    first = next(parts)
    shape, parts = (count, *first.shape[1:]), chain([first], parts)
    if size(shape) <= HELD:
        found, at = np.empty(shape, np.float32), 0
        for part in parts:
            found[at : at + len(part)] = part
            at += len(part)
        return found
    with tempfile.TemporaryFile(prefix=".part.", dir=FOLDER) as file:
        for part in parts:
            file.write(np.ascontiguousarray(part, np.float16).data)
        file.flush()
        return np.memmap(file, np.float16, "r", shape=shape)


def size(shape: tuple[int, ...]) -> int:
    """Bytes that float32 numbers take."""
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(np.float32).itemsize


def in_file(rows: Rows) -> bool:
    """Whether they are in a file, and so not to be worked on as a whole."""
    return isinstance(rows, np.memmap)


def held(rows: Rows) -> int:
    """How many of such rows are held in memory."""
    return HELD // size(rows.shape[1:])


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Up to `wanted` of `count` rows, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(np.int64))


def sample(labels: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Up to `wanted` rows, evenly spaced, and the first of each class, which may be so rare that it would be missed."""
    return np.union1d(spread(len(labels), wanted), np.unique(labels, return_index=True)[1])


def each(function: Callable[[NDArray[np.float32]], NDArray[Any]], rows: Rows) -> NDArray[Any]:
    """function(rows), which gives something for each of them, (n, ...), piece by piece."""
    return np.concatenate([function(read(rows, piece)) for piece in pieces(rows)])


def pieces(rows: Rows) -> list[slice]:
    """All rows in order, as many a piece as are read at once. What is in memory is one piece."""
    return cuts(len(rows), rows) if in_file(rows) else [slice(0, len(rows))]


def cuts(count: int, rows: Rows) -> list[slice]:
    """A number of such rows, divided into pieces."""
    step = max(1, PIECE // int(np.prod(rows.shape[1:])))
    return [slice(at, at + step) for at in range(0, count, step)]


def read(rows: Rows, which: slice | NDArray[np.int64]) -> NDArray[np.float32]:
    """Those rows, in memory."""
    if not in_file(rows):
        return np.asarray(rows[which], np.float32)
    if isinstance(which, slice):
        found = np.asarray(rows[which], np.float32)
        forget(rows[which])
        return found
    found = np.empty((len(which), *rows.shape[1:]), np.float32)
    for piece in cuts(len(which), rows):
        found[piece] = rows[which[piece]]
        forget(rows)
    return found


def forget(part: Rows) -> None:
    """What was read of a file counts no longer as the process's memory, where the system lets it go at once."""
    whole: Any = part
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    if isinstance(whole.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        low, high = (end - whole.ctypes.data for end in np.lib.array_utils.byte_bounds(part))
        start = low // mmap.PAGESIZE * mmap.PAGESIZE
        whole.base.madvise(mmap.MADV_DONTNEED, start, high - start)
