"""Class names that every system allows as the name of a folder."""

import re
import unicodedata

MAX_BYTES = 200  # systems allow 255, and temporary names are longer


def is_usable_label(label: str) -> bool:
    """Whether every system allows a folder of this name."""
    usable = r"[^./\\\0-\x1f\ud800-\udfff][^/\\\0-\x1f\ud800-\udfff]*"  # without bytes that are not UTF-8
    return len(label.encode("utf-8", "surrogatepass")) <= MAX_BYTES and bool(re.fullmatch(usable, label))


def normalize(name: str) -> str:
    """The same text for names that some system treats as equal: é in one or two characters, upper and lower case."""
    return unicodedata.normalize("NFC", name).casefold()
