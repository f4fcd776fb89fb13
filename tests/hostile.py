"""Damaged files: intact ones in which a seeded random generator changes bytes, numbers or parts."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

VALUES = [None, True, -1, 0, 0.5, 10**9, 1e300, "", "x", "../../x", [], {}, [[1]], {"a": 1}]  # for a value of JSON


def damage(content: bytes, random: np.random.Generator) -> bytes:
    """The bytes after one to four changes: bytes are replaced, lost, zeroed, repeated or moved, or the end is cut."""
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


def alter(document: Any, random: np.random.Generator) -> Any:
    """A JSON document in which one value or key, anywhere, is changed or removed."""
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        inner = waiting.pop()
        keys = list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else []
        places += [(inner, key) for key in keys]
        waiting += [inner[key] for key in keys]
    inner, key = places[random.integers(len(places))]
    if random.integers(4):
        value = inner[key]
        scaled = [value * 1000, -value] if type(value) in (int, float) else []
        inner[key] = [*VALUES, *scaled][random.integers(len(VALUES) + len(scaled))]
    else:
        del inner[key]
    return document


def repack(content: bytes, change: Callable[[str, bytes], bytes | None], kind: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with changed members; None removes one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w", kind) as new:
        for name in old.namelist():
            changed = change(name, old.read(name))
            if changed is not None:
                new.writestr(name, changed)
    return packed.getvalue()


def damage_model(content: bytes, random: np.random.Generator) -> bytes:
    """A .keras file that is damaged as a whole, in one member, or in one value of its JSON."""
    if not random.integers(4):
        return damage(content, random)
    damaged = ["config.json", "config.json", "config.json", "metadata.json", "model.weights.h5"][random.integers(5)]

    def change(name: str, member: bytes) -> bytes:
        if name != damaged:
            return member
        if name.endswith(".h5") or not random.integers(5):
            return damage(member, random)
        return json.dumps(alter(json.loads(member), random)).encode()

    return repack(content, change)
