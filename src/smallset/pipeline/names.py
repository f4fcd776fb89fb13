"""Names for people: whatever a file or a class is called, it is one line, and no command to a terminal."""

import unicodedata
from pathlib import Path

HIDDEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories of controls, halves of characters, line and paragraph ends
COPIES = "/.dvc/tmp/exps/"  # where DVC copies a project to, for a queued experiment


def visible(text: str) -> str:
    """The text with escapes, as \\n and \\x1b, in place of what would not be seen, or would be obeyed."""
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in HIDDEN else char for char in text
    )


def lines(text: object) -> str:
    """A message, each of its lines `visible`."""
    return "\n".join(map(visible, str(text).split("\n")))


def counted(number: int, noun: str) -> str:
    """As 1 photo, 2 photos."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def project(folder: Path) -> str:
    """The name of a pipeline's folder; in a copy that DVC has made for an experiment, of what it is a copy."""
    top, _, copy = folder.as_posix().partition(COPIES)
    return Path(top, copy.partition("/")[2]).name
