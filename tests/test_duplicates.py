"""Copies of generated pictures are found, and pictures that only resemble each other are not."""

import io
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from smallset.datasets import synthetic
from smallset.evaluation import duplicates

SIDE, COUNT = 200, 12
Random = np.random.Generator
FLIP = Image.Transpose.FLIP_LEFT_RIGHT


def to_image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def drawing(random: Random) -> Image.Image:
    return synthetic.picture(synthetic.cat, SIDE, random)


def landscape(random: Random) -> Image.Image:
    """Noise with the spectrum of photos."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(random.normal(size=(SIDE, SIDE, 3)), axes=(0, 1)) / frequency[..., None] ** 1.3
    values = np.fft.ifft2(spectrum, axes=(0, 1)).real
    return to_image((values - values.min()) / np.ptp(values) * 255)


def half(random: Random) -> Image.Image:
    """Half dark and half light."""
    pixels, cut = np.full((SIDE, SIDE, 3), random.uniform(170, 255, 3)), int(SIDE * random.uniform(0.35, 0.65))
    pixels[:cut] = random.uniform(0, 70, 3)
    return to_image(np.rot90(pixels, int(random.integers(4))) + random.normal(0, random.uniform(0, 12), pixels.shape))


def shapes(random: Random) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    for _ in range(random.integers(1, 4)):
        x, y, width, height = (random.uniform([0, 0, 0.15, 0.15], [0.6, 0.6, 0.4, 0.4]) * SIDE).tolist()
        draw = getattr(ImageDraw.Draw(image), random.choice(["ellipse", "rectangle"]))
        draw((x, y, x + width, y + height), fill=tuple(random.integers(0, 200, 3).tolist()))
    return image


def flat(random: Random) -> Image.Image:
    slope = np.linspace(-1, 1, SIDE)[:, None, None] * random.uniform(0, 30)
    return to_image(random.uniform(0, 255, 3) + slope + random.normal(0, random.uniform(0, 6), (SIDE, SIDE, 3)))


def document(random: Random) -> Image.Image:
    """Lines of other words in the same places."""
    image = Image.new("RGB", (3 * SIDE, 4 * SIDE), "white")
    for line in range(24):
        words = ["x" * size for size in random.integers(2, 9, 20)]
        ImageDraw.Draw(image).text((40, 40 + 30 * line), " ".join(words)[:52], "black", ImageFont.load_default(20))
    return image


def burst(random: Random) -> tuple[Image.Image, Image.Image]:
    """Two photos of one scene, in which the animal has moved."""
    scene, animal = landscape(random), Image.new("RGBA", (SIDE, SIDE))
    synthetic.dog(ImageDraw.Draw(animal), SIDE, random)
    frames = []
    for place, angle in ((0.1, 0), (0.3, 30)):
        moved = animal.rotate(angle).resize((SIDE // 2, SIDE // 2))
        frame = scene.copy()
        frame.paste(moved, (int(place * SIDE), SIDE // 4), moved)
        frames.append(to_image(np.asarray(frame) + random.normal(0, 4, (SIDE, SIDE, 3))))
    return frames[0], frames[1]


def other_view(random: Random) -> tuple[Image.Image, Image.Image]:
    """Two views of a wall, each with other things before it."""
    wall, views = landscape(random).resize((2 * SIDE, 2 * SIDE)), []
    for corner in ((0, 0), (SIDE // 3, SIDE // 2)):
        view = wall.crop((*corner, corner[0] + SIDE, corner[1] + SIDE))
        for x, y in random.uniform(0, 0.7 * SIDE, (4, 2)):
            color = tuple(random.integers(0, 255, 3).tolist())
            ImageDraw.Draw(view).rectangle((x, y, x + SIDE / 4, y + SIDE / 4), color)
        views.append(view)
    return views[0], views[1]


def crop(image: Image.Image, random: Random) -> Image.Image:
    size = np.array(image.size)
    kept = (size * random.uniform(0.8, 0.97, 2)).astype(int)
    corner = (random.random(2) * (size - kept)).astype(int)
    return image.crop((*corner, *(corner + kept)))


def shift(image: Image.Image, random: Random) -> Image.Image:
    moved = Image.new("RGB", image.size)
    moved.paste(image, tuple((np.array(image.size) * random.uniform(-0.12, 0.12, 2)).astype(int)))
    return moved


def compress(image: Image.Image, _: Random) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file)


COPIES: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    "saved again": compress,
    "resized": lambda image, _: image.resize([SIDE // 2] * 2),
    "cropped": crop,
    "shifted": shift,
    "rotated": lambda image, random: image.rotate(random.uniform(-7, 7), Image.Resampling.BICUBIC),
    "brighter or darker": lambda image, random: ImageEnhance.Brightness(image).enhance(random.uniform(0.6, 1.3)),
    "mirrored": lambda image, _: image.transpose(FLIP),
    "grey": lambda image, _: image.convert("L"),
}
KINDS = (drawing, landscape, shapes, document, half, flat)


def thumbnail(image: Image.Image) -> np.ndarray:
    reduced = image.resize((128, 128), Image.Resampling.BILINEAR).convert("L")
    return np.asarray(reduced.resize((64, 64), Image.Resampling.LANCZOS))


def verify(pairs: list[tuple[Image.Image, Image.Image]]) -> list[bool]:
    thumbnails = np.stack([thumbnail(image) for pair in pairs for image in pair])
    rows = np.arange(len(thumbnails)).reshape(-1, 2)
    verified = {
        *pd.concat([duplicates._verify(part, thumbnails) for part in np.array_split(rows, 1 + len(rows) // 64)])[
            "first"
        ]
    }
    return [row in verified for row in rows[:, 0]]


@pytest.fixture(scope="module")
def pictures() -> dict[str, list[Image.Image]]:
    return {kind.__name__: [kind(np.random.default_rng([number, 1])) for number in range(COUNT)] for kind in KINDS}


def test_copies_are_verified_and_pictures_that_resemble_each_other_are_not(
    pictures: dict[str, list[Image.Image]],
) -> None:
    true = {
        (kind, name): verify(
            [(image, change(image, np.random.default_rng(row))) for row, image in enumerate(pictures[kind])]
        )
        for kind in ("drawing", "landscape", "shapes")
        for name, change in COPIES.items()
    }
    false = {kind: verify([*combinations(images, 2)]) for kind, images in pictures.items()}
    for scene in (burst, other_view):
        false[scene.__name__] = verify([scene(np.random.default_rng([number, 3])) for number in range(COUNT)])
    found, wrong = sum(map(sum, true.values())), sum(map(sum, false.values()))
    assert found / (found + wrong) >= 0.95, {kind: sum(verified) for kind, verified in false.items()}
    assert found / (COUNT * len(true)) >= 0.8, {key: sum(verified) for key, verified in true.items()}
    photos = [verified for (kind, _), verified in true.items() if kind == "landscape"]
    assert np.mean(photos) >= 0.95


def test_candidates_have_similar_features_and_few_photos_have_few() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(40, 100)).astype(np.float16)
    values[1::2] = values[::2] + 0.1 * random.normal(size=(20, 100))
    pairs = duplicates._propose(values).tolist()
    assert [[row, row + 1] for row in range(0, 40, 2)] == [pair for pair in pairs if pair[0] // 2 == pair[1] // 2]
    assert len(pairs) < 60
    for count in range(3):
        thumbnails = np.zeros((count, 64, 64), np.uint8)
        assert duplicates.find_near_duplicates(values[:count], thumbnails).empty
