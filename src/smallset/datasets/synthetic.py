"""Generated pictures of cats and dogs, for runs anywhere and offline. They are not photos, and not a benchmark.

Pose, place, size, fur, background, clutter, light and noise vary in the same way in both classes. Ears, muzzle and
whiskers differ, so no single pixel tells the classes apart.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from smallset.pipeline import progress

Random = np.random.Generator
Color = tuple[int, ...]
Pen = ImageDraw.ImageDraw
SCALE = 2  # pictures are drawn larger and then reduced, for smooth edges
BLACK: Color = (25, 20, 20)


def draw(folder: Path, photos_per_class: int, image_size: int, seed: int) -> None:
    """Write pictures of image_size x image_size px to `folder`/<class>/; the same ones for the same seed."""
    for label, (name, face) in enumerate({"cat": cat, "dog": dog}.items()):
        (folder / name).mkdir(parents=True)
        for number in progress.bar(range(photos_per_class), what=f"drawing {name}s", unit=" pictures"):
            random = np.random.default_rng([seed, label, number])
            picture(face, image_size, random).save(folder / name / f"{name}.{number}.jpg", quality=90)


def picture(face: Callable[[Pen, float, Random], None], image_size: int, random: Random) -> Image.Image:
    """One RGB picture: a background with clutter, a face (`cat` or `dog`) somewhere on it, light and noise on both."""
    size = SCALE * image_size
    canvas = _draw_background(size, random)
    layer = Image.new("RGBA", (size, size))
    face(ImageDraw.Draw(layer), size, random)
    layer = layer.rotate(random.normal(0, 18), Image.Resampling.BILINEAR)
    width = int(size * random.uniform(0.55, 0.95))
    layer = layer.resize((width, int(width * random.uniform(0.85, 1.15))))
    corner = random.integers(-size // 12, size - width + size // 12, 2)
    canvas.paste(layer, tuple(corner), layer)
    pixels = np.asarray(canvas.resize((image_size, image_size), Image.Resampling.BOX))
    light, grain = random.uniform(0.55, 1.3), random.uniform(4, 24)
    noisy = pixels * light + random.normal(0, grain, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _draw_background(size: int, random: Random) -> Image.Image:
    """A gradient between two colors with a few shapes."""
    ends = random.uniform(20, 235, (2, 1, 1, 3))
    ramp = np.linspace(0, 1, size)[:, None, None]
    pixels: NDArray[np.uint8] = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (size, size, 3)).astype(np.uint8)
    canvas = Image.fromarray(np.ascontiguousarray(np.rot90(pixels, int(random.integers(4)))))
    pen = ImageDraw.Draw(canvas)
    for _ in range(random.integers(3, 9)):
        x, y, width, height = random.uniform(0, size, 2).tolist() + random.uniform(size / 20, size / 3, 2).tolist()
        shape, fill = random.choice(["ellipse", "rectangle", "triangle", "line"]), _draw_color(random)
        if shape == "triangle":
            pen.polygon([(x, y), (x + width, y), (x + width / 2, y - height)], fill=fill)
        else:
            options = {"width": size // 60} if shape == "line" else {}
            getattr(pen, shape)((x, y, x + width, y + height), fill=fill, **options)
    return canvas


def cat(pen: Pen, size: float, random: Random) -> None:
    """Upright pointed ears, a short muzzle, whiskers."""
    fur = _draw_color(random)
    for sign in (-1, 1):
        tip = (0.5 + sign * random.uniform(0.22, 0.34), random.uniform(0.05, 0.16))
        _polygon(pen, size, [(0.5 + sign * 0.06, 0.3), (0.5 + sign * 0.33, 0.42), tip], fur)
    _draw_skull(pen, size, fur, random)
    _draw_eyes(pen, size, random)
    _ellipse(pen, size, 0.5, 0.66, 0.1, 0.07, _shade(fur, 30))
    _polygon(pen, size, [(0.46, 0.61), (0.54, 0.61), (0.5, 0.65)], BLACK)
    for sign in (-1, 1):
        for slope in random.normal(0, 0.06, 3):
            ends = [(0.5 + sign * 0.1, 0.66), (0.5 + sign * 0.42, 0.66 + slope)]
            pen.line([(x * size, y * size) for x, y in ends], fill=_shade(fur, 80), width=max(1, int(size / 90)))


def dog(pen: Pen, size: float, random: Random) -> None:
    """Hanging ears, a long muzzle with a broad nose, sometimes the tongue out."""
    fur = _draw_color(random)
    _draw_skull(pen, size, fur, random)
    hang = random.uniform(0.14, 0.22)
    for sign in (-1, 1):
        _ellipse(pen, size, 0.5 + sign * random.uniform(0.27, 0.33), 0.4 + hang / 2, 0.075, hang, _shade(fur, -45))
    _draw_eyes(pen, size, random)
    if random.random() < 0.4:
        _ellipse(pen, size, 0.5, 0.85, 0.05, 0.09, (220, 90, 110))
    _ellipse(pen, size, 0.5, 0.7, 0.14, random.uniform(0.12, 0.16), _shade(fur, 30))
    _ellipse(pen, size, 0.5, 0.63, 0.07, 0.045, BLACK)


def _draw_skull(pen: Pen, size: float, fur: Color, random: Random) -> None:
    _ellipse(pen, size, 0.5, 0.53, random.uniform(0.26, 0.32), random.uniform(0.27, 0.33), fur)
    for x, y in random.uniform(0.33, 0.67, (random.integers(0, 4), 2)):  # patches
        _ellipse(pen, size, x, y, 0.05, 0.05, _shade(fur, int(random.integers(-60, 60))))


def _draw_eyes(pen: Pen, size: float, random: Random) -> None:
    distance, radius = random.uniform(0.1, 0.14), random.uniform(0.03, 0.05)
    iris = _draw_color(random)
    for sign in (-1, 1):
        _ellipse(pen, size, 0.5 + sign * distance, 0.47, radius, radius, iris)
        _ellipse(pen, size, 0.5 + sign * distance, 0.47, radius / 2, radius / 1.4, BLACK)


def _ellipse(pen: Pen, size: float, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
    pen.ellipse(((x - rx) * size, (y - ry) * size, (x + rx) * size, (y + ry) * size), fill=fill)


def _polygon(pen: Pen, size: float, corners: Sequence[tuple[float, float]], fill: Color) -> None:
    pen.polygon([(x * size, y * size) for x, y in corners], fill=fill)


def _draw_color(random: Random) -> Color:
    return tuple(random.integers(30, 226, 3).tolist())


def _shade(fill: Color, by: int) -> Color:
    """Lighter or darker."""
    return tuple(int(np.clip(channel + by, 0, 255)) for channel in fill)
