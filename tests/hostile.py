"""Files that are not what they should be: good ones with bytes, numbers or parts changed by a seeded draw."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

ODD = [None, True, -1, 0, 0.5, 10**9, 1e300, "", "x", "../../x", [], {}, [[1]], {"a": 1}]  # for a value of JSON


def spoilt(content: bytes, random: np.random.Generator) -> bytes:
    """The bytes with one to four changes: some other bytes, a piece lost, zeroed, doubled or moved, or the end cut."""
    for _ in range(random.integers(1, 5)):
        if not content:
            break
        at = int(random.integers(len(content)))
        piece = content[at : at + int(2 ** random.uniform(0, 10))]
        other = int(random.integers(len(content)))
        content = [
            content[:at] + random.bytes(len(piece)) + content[at + len(piece) :],
            content[:at] + bytes([content[at] ^ 1 << int(random.integers(8))]) + content[at + 1 :],
            content[:at] + content[at + len(piece) :],
            content[:at] + bytes(len(piece)) + content[at + len(piece) :],
            content[:other] + piece + content[other:],
            content[:at],
        ][random.integers(6)]
    return content


def altered(document: Any, random: np.random.Generator) -> Any:
    """A JSON document with one value, key or item, anywhere, changed or lost."""
    places: list[tuple[Any, Any]] = []
    pending = [document]
    while pending:
        inner = pending.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else []
        places += [(inner, key) for key in keys]
        pending += [inner[key] for key in keys]
    inner, key = places[random.integers(len(places))]
    if random.integers(4):
        value = inner[key]
        scaled = [value * 1000, -value] if type(value) in (int, float) else []
        inner[key] = [*ODD, *scaled][random.integers(len(ODD) + len(scaled))]
    else:
        del inner[key]
    return document


def repacked(content: bytes, change: Callable[[str, bytes], bytes | None], kind: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with changed members; None for one that is left out."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w", kind) as new:
        for name in old.namelist():
            changed = change(name, old.read(name))
            if changed is not None:
                new.writestr(name, changed)
    return packed.getvalue()


def model(content: bytes, random: np.random.Generator) -> bytes:
    """A .keras file, spoilt as a whole, in a member, or in a value of its JSON."""
    if not random.integers(4):
        return spoilt(content, random)
    chosen = ["config.json", "config.json", "config.json", "metadata.json", "model.weights.h5"][random.integers(5)]

    def change(name: str, member: bytes) -> bytes:
        if name != chosen:
            return member
        if name.endswith(".h5") or not random.integers(5):
            return spoilt(member, random)
        return json.dumps(altered(json.loads(member), random)).encode()

    return repacked(content, change)
