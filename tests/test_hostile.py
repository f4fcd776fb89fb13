"""Damaged photos, models, tables, archives and params: each is read, or is one SmallsetError, and nothing else.

SMALLSET_MUTATIONS=2000 pytest -n0 tests/test_hostile.py tries that many of each.
"""

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hostile
import numpy as np
import pytest
import yaml
from conftest import ROOT
from PIL import Image

from smallset.datasets import archives, folders
from smallset.images import decoding
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("SMALLSET_MUTATIONS", "40"))
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "PPM", "JPEG2000", "AVIF")


def generators(kind: int) -> Iterator[np.random.Generator]:
    return (np.random.default_rng([kind, number]) for number in range(COUNT))


def run(attempts: Iterator[Callable[[], object]]) -> tuple[int, int]:
    """How many files are read, and how many are refused with a message."""
    read = refused = 0
    for attempt in attempts:
        try:
            attempt()
            read += 1
        except SmallsetError as error:
            assert "Traceback" not in str(error)  # noqa: PT017
            assert len(str(error)) > 20  # noqa: PT017
            refused += 1
    return read, refused


def photos() -> list[bytes]:
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
    intact, path = photos(), tmp_path / "photo.jpg"

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        path.write_bytes(hostile.damage(intact[random.integers(len(intact))], random))
        return lambda: decoding.decode(path)

    read, refused = run(map(attempt, generators(0)))
    assert read
    assert refused


@pytest.mark.filterwarnings("ignore")  # Keras's about odd layers
def test_models(tmp_path: Path) -> None:
    from networks import convnet

    from smallset.models import convnets, model_file

    path = tmp_path / "model.keras"
    model_file.save(convnet(78, 3), path, {"classes": ["a", "b", "c"], "temperature": 1.0, "photos": []}, {})
    intact, pixels = path.read_bytes(), np.full((2, 78, 78, 3), 90, np.float32)

    def predict() -> object:
        network, metadata, _ = model_file.open_model(path)
        if network.input_shape[1] != 78:
            return None
        rows = convnets.to_class_probabilities(np.asarray(network(pixels)))
        assert rows.shape == (2, len(metadata["classes"]))
        return rows

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        path.write_bytes(hostile.damage_model(intact, random))
        return predict

    _, refused = run(map(attempt, generators(1)))
    assert refused


def test_tables(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    table = tmp_path / "table.csv"
    rows = [f"{label}/{n}.png,{label},{split},g{n}\n" for label in "ab" for n, split in ((1, "train"), (2, "test"))]
    intact = "".join(["file,label,split,group\n", *rows]).encode()

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        table.write_bytes(hostile.damage(intact, random))
        return lambda: folders.read_folder(tmp_path / "photos", table)

    _, refused = run(map(attempt, generators(2)))
    assert refused


def test_archives(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("PetImages/Cat/0.jpg", "PetImages/Cat/1.jpg", "PetImages/Dog/0.jpg"):
            archive.writestr(name, photos()[0])

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        (tmp_path / "a.zip").write_bytes(hostile.damage(content.getvalue(), random))
        target = tmp_path / f"{random.bytes(8).hex()}"
        target.mkdir()
        return lambda: archives.unpack(tmp_path / "a.zip", target)

    _, refused = run(map(attempt, generators(3)))
    assert refused


def test_params(tmp_path: Path) -> None:
    intact = (ROOT / "params.yaml").read_bytes()
    path = tmp_path / "params.yaml"

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        altered = yaml.safe_dump(hostile.alter(yaml.safe_load(intact), random)).encode()
        path.write_bytes(altered if random.integers(2) else hostile.damage(intact, random))
        return lambda: params.read(path)

    _, refused = run(map(attempt, generators(4)))
    assert refused
