"""The progress of long work: a bar on a terminal; in a log or in CI, a line every half minute."""

import io
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

from smallset.pipeline import text

INTERVAL = 30.0  # s between two lines in a log, and before the first one


class _Lines:
    """A file for tqdm that writes each state of a bar on a line of its own."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, content: str) -> None:
        if line := content.strip("\r\n "):
            self.file.write(f"{line}\n")

    def flush(self) -> None:
        self.file.flush()


def bar(
    items: Iterable[Any] | None = None, *, total: int | None = None, what: str = "", unit: str = "", leave: bool = True
) -> "tqdm[Any]":
    """Iterate over the items and show the progress on stderr; without items, the caller updates the bar.

    unit: The noun after the numbers, as " photos". leave: Keep the bar on the terminal when the work is done.
    """
    stderr = sys.stderr or io.StringIO()  # None when it is closed
    settings: dict[str, Any] = {"desc": text.visible(what) or None, "total": total, "unit": unit, "leave": leave}
    if not stderr.isatty():
        settings |= {"file": _Lines(stderr), "delay": INTERVAL, "mininterval": INTERVAL, "maxinterval": INTERVAL}
        settings |= {"ascii": True, "ncols": 100}
    return tqdm(items, **settings)
