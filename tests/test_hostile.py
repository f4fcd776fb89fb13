"""Mutated photos, models, tables, archives and params: each is read, or is one SmallsetError; nothing else is raised.

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
from networks import convnet
from PIL import Image
from pipelines import ROOT

from smallset.datasets import archives, folders
from smallset.images import decoding
from smallset.models import convnets, model_file
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

pytestmark = pytest.mark.slow

TIMES = int(os.environ.get("SMALLSET_MUTATIONS", "40"))
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "PPM")


def draws(kind: int) -> Iterator[np.random.Generator]:
    """A generator of its own for each try."""
    return (np.random.default_rng([kind, number]) for number in range(TIMES))


def outcomes(tries: Iterator[Callable[[], object]]) -> tuple[int, int]:
    """How many were read, and how many were refused by a message of one sentence or more."""
    read = refused = 0
    for attempt in tries:
        try:
            attempt()
            read += 1
        except SmallsetError as error:
            assert "Traceback" not in str(error)  # noqa: PT017
            assert len(str(error)) > 20  # noqa: PT017
            refused += 1
    print(f"{read} read, {refused} refused")
    return read, refused


def photos() -> list[bytes]:
    """A picture in each format, with metadata where it has them."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8).repeat(2, 0))
    exif = picture.getexif()
    exif[0x0112] = 6
    files = []
    for name in FORMATS:
        content = io.BytesIO()
        picture.save(content, name, **({"exif": exif} if name in ("JPEG", "PNG", "WEBP") else {}))
        files.append(content.getvalue())
    return files


@pytest.mark.filterwarnings("ignore")  # Pillow's own words about what it reads
def test_photos(tmp_path: Path) -> None:
    good, path = photos(), tmp_path / "photo.jpg"

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        path.write_bytes(hostile.spoilt(good[random.integers(len(good))], random))
        return lambda: decoding.decode(path)

    read, refused = outcomes(map(attempt, draws(0)))
    assert read
    assert refused


@pytest.mark.filterwarnings("ignore")  # Keras's own words about odd layers
def test_models(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    model_file.save(convnet(78, 3), path, ["a", "b", "c"])
    good, pixels = path.read_bytes(), np.full((2, 78, 78, 3), 90, np.float32)

    def predict() -> object:
        network, names = model_file.classifier(path)
        if network.input_shape[1] != 78:
            return None
        rows = convnets.per_class(np.asarray(network(pixels)))
        assert rows.shape == (2, len(names))
        return rows

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        path.write_bytes(hostile.model(good, random))
        return predict

    _, refused = outcomes(map(attempt, draws(1)))
    assert refused


def test_tables(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    table = tmp_path / "table.csv"
    good = b"file,label,split,group\n" + b"".join(
        f"{label}/{number}.png,{label},{split},g{number}\n".encode()
        for label in "ab"
        for number, split in ((1, "train"), (2, "test"))
    )

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        table.write_bytes(hostile.spoilt(good, random))
        return lambda: folders.read(tmp_path / "photos", table)

    _, refused = outcomes(map(attempt, draws(2)))
    assert refused


def test_archives(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("PetImages/Cat/0.jpg", "PetImages/Cat/1.jpg", "PetImages/Dog/0.jpg"):
            archive.writestr(name, photos()[0])

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        (tmp_path / "a.zip").write_bytes(hostile.spoilt(content.getvalue(), random))
        target = tmp_path / f"{random.bytes(8).hex()}"
        target.mkdir()
        return lambda: archives.unpack(tmp_path / "a.zip", target)

    _, refused = outcomes(map(attempt, draws(3)))
    assert refused


def test_params(tmp_path: Path) -> None:
    text = (ROOT / "project/params.yaml").read_bytes()
    path = tmp_path / "params.yaml"

    def attempt(random: np.random.Generator) -> Callable[[], object]:
        changed = yaml.safe_dump(hostile.altered(yaml.safe_load(text), random)).encode()
        path.write_bytes(changed if random.integers(2) else hostile.spoilt(text, random))
        return lambda: params.read(path)

    _, refused = outcomes(map(attempt, draws(4)))
    assert refused
