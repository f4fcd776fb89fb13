"""Names that every system allows: of classes, which are folders, and of the photos in them."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from pathlib import PurePosixPath

import pandas as pd

INDEX = "photos.csv"  # beside the class folders, where splits or groups are known
LONGEST = 200  # bytes of a class's name, and of a photo's that is cut; systems allow 255, and drafts add to them


def usable(label: str) -> bool:
    """True for what can be a folder's name on every system."""
    try:
        size = len(label.encode())
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return False
    return size <= LONGEST and label != INDEX and bool(re.fullmatch(r"[^./\\\0-\x1f][^/\\\0-\x1f]*", label))


def places(own: pd.DataFrame) -> list[str]:
    """<class>/<name> for each photo; where a class has a name twice, the folders come before it: train-1.jpg.

    Upper and lower case count as one, and so do two spellings of a letter, as they do on macOS and Windows. A number
    tells apart what is still alike.
    """
    # A name from an old zip may not be UTF-8; its copy's is.
    paths = [PurePosixPath(os.fsencode(source).decode("utf-8", "replace")) for source in own["source"]]
    names = Counter((label, same(path.name)) for label, path in zip(own["label"], paths, strict=True))
    taken: set[str] = set()
    result = []
    for label, path in zip(own["label"], paths, strict=True):
        alone = names[label, same(path.name)] == 1
        name = shortened(path.name if alone else "-".join(part for part in path.parts if part != label))
        place, number = f"{label}/{name}", 1
        while same(place) in taken:
            number += 1
            place = f"{label}/{shortened(f'{PurePosixPath(name).stem}-{number}{path.suffix}')}"
        taken.add(same(place))
        result.append(place)
    return result


def same(name: str) -> str:
    """What two names have in common that are one on some system."""
    return unicodedata.normalize("NFC", name).casefold()


def shortened(name: str) -> str:
    """A name that systems allow: one of more than 255 bytes keeps its end, after a digest of the whole."""
    content = name.encode()
    if len(content) <= 255:
        return name
    return hashlib.sha256(content).hexdigest()[:16] + content[16 - LONGEST :].decode("utf-8", "ignore")
