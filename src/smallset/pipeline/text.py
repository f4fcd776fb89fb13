"""Text from outside, as names of files and classes, made safe for a terminal and for Markdown."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

HIDDEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of control characters, surrogates, line and paragraph ends
BIDIRECTIONAL = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # controls that reorder a line
MARKDOWN = re.compile(r"([\\`*\[\]<>|&~$]|(?<!\w)_|_(?!\w))")  # characters with a meaning; fine_tune stays as it is
LISTED = 20  # lines or words of a list that people read
EXPERIMENTS = "/.dvc/tmp/exps/"  # where DVC copies a project to for a queued experiment


def visible(text: str) -> str:
    """The text on one line, with escapes as \\n and \\x1b in place of invisible and control characters."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(char: str) -> str:
    """The character or its escape; \\xb0 for a byte that is not UTF-8, which Python reads as \\udcb0."""
    if unicodedata.category(char) in HIDDEN or unicodedata.bidirectional(char) in BIDIRECTIONAL:
        return char.encode("unicode_escape").decode("ascii").replace("\\udc", "\\x")
    return char


def lines(text: object) -> str:
    """A message of several lines, each of them `visible`."""
    return "\n".join(map(visible, str(text).split("\n")))


def plain(text: str) -> str:
    """Markdown that shows the text as it is, in a line, a list or a table."""
    return MARKDOWN.sub(r"\\\1", visible(text))


def counted(number: int, noun: str) -> str:
    """A number with its noun, as 1 photo or 2,000 photos."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def first_lines(lines: Sequence[str], more: str) -> list[str]:
    """The first LISTED lines; `more` says what the others are, with {} in place of their number."""
    return [*lines[:LISTED], *([more.format(f"{len(lines) - LISTED:,}")] if len(lines) > LISTED else [])]


def project(folder: Path) -> str:
    """The name of a pipeline's folder; in DVC's copy for an experiment, the name of the original folder."""
    original, _, copy = folder.as_posix().partition(EXPERIMENTS)
    return Path(original, copy.partition("/")[2]).name
