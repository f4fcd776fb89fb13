"""Damaged photos, models, tables, archives and params: each is read, or is one SmallsetError, and nothing else.

SMALLSET_MUTATIONS=2000 pytest -n0 tests/test_hostile.py tries that many of each.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT
from PIL import Image

from smallset.datasets import archives, folders
from smallset.images import decoding
from smallset.pipeline import files, params
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


def check(seed: int, prepare: Callable[[Random], object], read: Callable[[], object]) -> tuple[int, int]:
    """How many damaged files are read, and how many are refused with a message."""
    counts = [0, 0]
    for number in range(COUNT):
        prepare(np.random.default_rng([seed, number]))
        try:
            read()
            counts[0] += 1
        except SmallsetError as error:
            assert "Traceback" not in str(error)  # noqa: PT017
            assert len(str(error)) > 20  # noqa: PT017
            counts[1] += 1
    return counts[0], counts[1]


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


@pytest.mark.filterwarnings("ignore")  # Pillow's about metadata
def test_photos(tmp_path: Path) -> None:
    intact, path = draw_photos(), tmp_path / "photo.jpg"

    def prepare(random: Random) -> None:
        path.write_bytes(damage(intact[random.integers(len(intact))], random))

    assert all(check(0, prepare, lambda: decoding.decode(path)))


@pytest.mark.filterwarnings("ignore")  # Keras's about odd layers
def test_models(tmp_path: Path) -> None:
    from networks import convnet

    from smallset.models import convnets, model_file

    path = tmp_path / "model.keras"
    model_file.save(convnet(78, 3), path, {"classes": ["a", "b", "c"], "temperature": 1.0, "photos": []}, {})
    intact, pixels = path.read_bytes(), np.full((2, 78, 78, 3), 90, np.float32)

    def predict() -> None:
        model = model_file.open_model(path)
        if model.network.input_shape[1] == 78:
            rows = convnets.to_class_probabilities(np.asarray(model.network(pixels)))
            assert rows.shape == (2, len(model.metadata["classes"]))

    assert check(1, lambda random: path.write_bytes(damage_model(intact, random)), predict)[1]


def test_tables(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    table = tmp_path / "table.csv"
    rows = [f"{label}/{n}.png,{label},{split},g{n}\n" for label in "ab" for n, split in ((1, "train"), (2, "test"))]
    intact = "".join(["file,label,split,group\n", *rows]).encode()

    def prepare(random: Random) -> None:
        table.write_bytes(damage(intact, random))

    assert check(2, prepare, lambda: folders.read_folder(tmp_path / "photos", table))[1]


def test_archives(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("PetImages/Cat/0.jpg", "PetImages/Cat/1.jpg", "PetImages/Dog/0.jpg"):
            archive.writestr(zipfile.ZipInfo(name), draw_photos()[0])
    target = tmp_path / "raw"

    def prepare(random: Random) -> None:
        (tmp_path / "a.zip").write_bytes(damage(content.getvalue(), random))
        files.remove(target)
        target.mkdir()

    assert check(3, prepare, lambda: archives.unpack(tmp_path / "a.zip", target))[1]


def test_params(tmp_path: Path) -> None:
    intact, path = (ROOT / "params.yaml").read_bytes(), tmp_path / "params.yaml"

    def prepare(random: Random) -> None:
        altered = yaml.safe_dump(alter(yaml.safe_load(intact), random)).encode()
        path.write_bytes(altered if random.integers(2) else damage(intact, random))

    assert check(4, prepare, lambda: params.read(path))[1]
