"""Names for people: whatever a file or a class is called, it is one line, and no command to a terminal."""

import re
import unicodedata
from pathlib import Path

HIDDEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of controls, halves of characters, line and paragraph ends
TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # what writes the rest of a line backwards
MARKDOWN = re.compile(r"([\\`*\[\]<>|&~$]|(?<!\w)_|_(?!\w))")  # what is no plain text there; fine_tune is
COPIES = "/.dvc/tmp/exps/"  # where DVC copies a project to, for a queued experiment


def visible(text: str) -> str:
    """The text with escapes, as \\n and \\x1b, in place of what would not be seen, or would be obeyed."""
    if text.isprintable():  # nearly all: it is asked of thousands at once
        return text
    return "".join(
        _escape(char) if unicodedata.category(char) in HIDDEN or unicodedata.bidirectional(char) in TURNING else char
        for char in text
    )


def _escape(char: str) -> str:
    """As \\n or \\u202e; of a byte that is not UTF-8, which Python keeps as \\udcb0, \\xb0."""
    return char.encode("unicode_escape").decode("ascii").replace("\\udc", "\\x")


def lines(text: object) -> str:
    """A message, each of its lines `visible`."""
    return "\n".join(map(visible, str(text).split("\n")))


def plain(text: str) -> str:
    """What stands for the text in Markdown, wherever it is written: in a line, a list, a table."""
    return MARKDOWN.sub(r"\\\1", visible(text))


def counted(number: int, noun: str) -> str:
    """As 1 photo, 2 photos."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def project(folder: Path) -> str:
    """The name of a pipeline's folder; in a copy that DVC has made for an experiment, of what it is a copy."""
    top, _, copy = folder.as_posix().partition(COPIES)
    return Path(top, copy.partition("/")[2]).name
