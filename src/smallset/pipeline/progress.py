"""How far long work has come: a bar on a terminal, elsewhere (a log, CI) a line now and then."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

from smallset.pipeline import text

EVERY = 30.0  # s between two lines in a log; shorter work says nothing there


class Lines:
    """A file for tqdm that ends each state of its bar with a line break, and does not go back over it."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, text: str) -> None:
        """Only what is to be read."""
        if line := text.strip("\r\n "):
            self.file.write(f"{line}\n")

    def flush(self) -> None:
        """Of the file."""
        self.file.flush()


def bar(
    items: Iterable[Any] | None = None, *, total: int | None = None, what: str = "", unit: str = "", leave: bool = True
) -> "tqdm[Any]":
    """A tqdm over the items, or one to be updated, on stderr. leave: whether it stays there when all is done."""
    what = text.visible(what)
    if sys.stderr.isatty():
        return tqdm(items, desc=what or None, total=total, unit=unit, leave=leave)
    calm: dict[str, Any] = {"delay": EVERY, "mininterval": EVERY, "maxinterval": EVERY, "ascii": True, "ncols": 100}
    return tqdm(items, desc=what or None, total=total, unit=unit, leave=leave, file=Lines(sys.stderr), **calm)
