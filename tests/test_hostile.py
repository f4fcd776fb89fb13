"""Damaged photos, models, tables, archives and params: each is read, or is one SmallsetError, and nothing else.

SMALLSET_MUTATIONS=2000 pytest -n0 tests/test_hostile.py tries that many of each.
"""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from albums import put
from conftest import ROOT
from PIL import Image

from smallset.datasets import archives, folders
from smallset.images import decoding
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("SMALLSET_MUTATIONS", "40"))
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "PPM", "JPEG2000", "AVIF")
VALUES = [None, True, -1, 0, 0.5, 10**9, 1e300, "", "x", "../../x", [], {}, [[1]], {"a": 1}]  # for a value of JSON
Random = np.random.Generator


def damage(content: bytes, random: Random) -> bytes:
    """The bytes after one to four changes: bytes are replaced, lost, zeroed, repeated or moved, or the end is cut."""
    for _ in range(random.integers(1, 5)):
        if not content:
            break
        at, other = random.integers(len(content), size=2)
        piece = content[at : at + int(2 ** random.uniform(0, 10))]
        content = [
            content[:at] + random.bytes(len(piece)) + content[at + len(piece) :],
            content[:at] + bytes([content[at] ^ 1 << int(random.integers(8))]) + content[at + 1 :],
            content[:at] + content[at + len(piece) :],
            content[:at] + bytes(len(piece)) + content[at + len(piece) :],
            content[:other] + piece + content[other:],
            content[:at],
        ][random.integers(6)]
    return content


def alter(document: Any, random: Random) -> Any:
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


def damage_model(content: bytes, random: Random) -> bytes:
    """A .keras file that is damaged as a whole, in one member, or in one value of its JSON."""
    if not random.integers(4):
        return damage(content, random)
    damaged = ["config.json", "config.json", "config.json", "metadata.json", "model.weights.h5"][random.integers(5)]
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name == damaged:
                as_bytes = name.endswith(".h5") or not random.integers(5)
                member = damage(member, random) if as_bytes else json.dumps(alter(json.loads(member), random)).encode()
            new.writestr(name, member)
    return packed.getvalue()


def check(path: Path, damaged: Callable[[Random], bytes], read: Callable[[], object]) -> list[bool]:
    """Whether each of COUNT damaged files is read; the others are refused with a message."""
    results = []
    for number in range(COUNT):
        path.write_bytes(damaged(np.random.default_rng(number)))
        try:
            read()
            results.append(True)
        except SmallsetError as error:
            assert "Traceback" not in str(error)  # noqa: PT017
            assert len(str(error)) > 20  # noqa: PT017
            results.append(False)
    return results


def draw_photos() -> list[bytes]:
    """A picture in each format, with Exif where the format has it."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8).repeat(2, 0))
    exif = picture.getexif()
    exif[0x0112] = 6
    contents = []
    for name in FORMATS:
        content = io.BytesIO()
        picture.save(content, name, **({"exif": exif} if name in ("JPEG", "PNG", "WEBP") else {}))
        contents.append(content.getvalue())
    return contents


def make_archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("PetImages/Cat/0.jpg", "PetImages/Cat/1.jpg", "PetImages/Dog/0.jpg"):
            archive.writestr(zipfile.ZipInfo(name), draw_photos()[0])
    return content.getvalue()


def unpack(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as target:
        archives.unpack(path, Path(target))


TABLE = "file,label,split,group\na/1.png,a,train,1\na/2.png,a,test,2\nb/1.png,b,train,1\nb/2.png,b,test,2\n"


@pytest.mark.filterwarnings("ignore")  # Pillow's about metadata
@pytest.mark.parametrize(
    ("contents", "read"),
    [
        (draw_photos(), decoding.decode),
        ([TABLE.encode()], lambda path: folders.read_folder(path.parent, path)),
        ([make_archive()], unpack),
        ([(ROOT / "params.yaml").read_bytes()], params.read),
    ],
    ids=["photo", "table", "archive", "params"],
)
def test_files(tmp_path: Path, contents: list[bytes], read: Callable[[Path], object]) -> None:
    path = put(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png") / "damaged.csv"
    intact = cycle(contents)
    assert False in check(path, lambda random: damage(next(intact), random), lambda: read(path))


@pytest.mark.filterwarnings("ignore")  # Keras's about odd layers
def test_models(tmp_path: Path) -> None:
    from networks import convnet

    from smallset.models import model_file
    from smallset.models.probabilities import to_class_probabilities

    path = tmp_path / "model.keras"
    model_file.save(convnet(78, 3), path, {"classes": ["a", "b", "c"], "temperature": 1.0, "photos": []}, {})
    intact, pixels = path.read_bytes(), np.full((2, 78, 78, 3), 90, np.float32)

    def predict() -> None:
        network, metadata, _ = model_file.open_model(path)
        if network.input_shape[1] == 78:
            rows = to_class_probabilities(np.asarray(network(pixels)))
            assert rows.shape == (2, len(metadata["classes"]))

    assert False in check(path, lambda random: damage_model(intact, random), predict)
