"""Class names that every system allows as the name of a folder."""

import re
import unicodedata

MAX_BYTES = 200  # systems allow 255, and temporary names are longer


def is_usable_label(label: str) -> bool:
    """Whether every system allows a folder of this name."""
    try:
        size = len(label.encode())
    except UnicodeEncodeError:  # bytes that are not UTF-8
        return False
    return size <= MAX_BYTES and bool(re.fullmatch(r"[^./\\\0-\x1f][^/\\\0-\x1f]*", label))


def normalize(name: str) -> str:
    """The same text for names that some system treats as equal: é in one or two characters, upper and lower case."""
    return unicodedata.normalize("NFC", name).casefold()
