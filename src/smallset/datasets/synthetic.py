"""The sample: cats and dogs that smallset draws, for a run anywhere, offline. Drawings, not photos, and no benchmark.

Pose, place, size, fur, background, clutter, light and noise vary alike in both classes; ears, muzzle and whiskers tell
them apart, so that no single pixel does.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from smallset.pipeline import progress

Random = np.random.Generator
Colour = tuple[int, ...]
FINE = 2  # drawn at twice the size and reduced, for smooth edges
BLACK: Colour = (25, 20, 20)


def draw(folder: Path, count: int, size: int, seed: int) -> None:
    """Write `count` pictures a class, size x size px, to `folder`/<class>/, the same for one seed."""
    for label, (name, face) in enumerate({"cat": cat, "dog": dog}.items()):
        (folder / name).mkdir(parents=True)
        for number in progress.bar(range(count), what=f"drawing {name}s", unit=" pictures"):
            random = np.random.default_rng([seed, label, number])
            picture(face, size, random).save(folder / name / f"{name}.{number}.jpg", quality=90)


def picture(face: Callable[[ImageDraw.ImageDraw, float, Random], None], size: int, random: Random) -> Image.Image:
    """One RGB picture of size x size px: a background with clutter, a face somewhere on it, light and noise on both."""
    side = FINE * size
    canvas = background(side, random)
    layer = Image.new("RGBA", (side, side))
    face(ImageDraw.Draw(layer), side, random)
    layer = layer.rotate(random.normal(0, 18), Image.Resampling.BILINEAR)
    width = int(side * random.uniform(0.55, 0.95))
    layer = layer.resize((width, int(width * random.uniform(0.85, 1.15))))
    corner = random.integers(-side // 12, side - width + side // 12, 2)
    canvas.paste(layer, tuple(corner), layer)
    return Image.fromarray(noisy(np.asarray(canvas.resize((size, size), Image.Resampling.BOX)), random))


def background(side: int, random: Random) -> Image.Image:
    """A gradient between two colours with a few blobs and sticks on it."""
    ends = random.uniform(20, 235, (2, 1, 1, 3))
    ramp = np.linspace(0, 1, side)[:, None, None]
    pixels = np.broadcast_to(ends[0] * (1 - ramp) + ends[1] * ramp, (side, side, 3)).astype(np.uint8)
    canvas = Image.fromarray(np.ascontiguousarray(np.rot90(pixels, int(random.integers(4)))))
    pen = ImageDraw.Draw(canvas)
    for _ in range(random.integers(3, 9)):
        x, y, width, height = random.uniform(0, side, 2).tolist() + random.uniform(side / 20, side / 3, 2).tolist()
        shape = random.choice(["ellipse", "rectangle", "triangle", "line"])
        if shape == "ellipse":
            pen.ellipse((x, y, x + width, y + height), fill=colour(random))
        elif shape == "rectangle":
            pen.rectangle((x, y, x + width, y + height), fill=colour(random))
        elif shape == "triangle":
            pen.polygon([(x, y), (x + width, y), (x + width / 2, y - height)], fill=colour(random))
        else:
            pen.line((x, y, x + width, y + height), fill=colour(random), width=side // 60)
    return canvas


def cat(pen: ImageDraw.ImageDraw, side: float, random: Random) -> None:
    """Upright pointed ears, a short muzzle, whiskers."""
    fur = colour(random)
    for sign in (-1, 1):
        tip = (0.5 + sign * random.uniform(0.22, 0.34), random.uniform(0.05, 0.16))
        polygon(pen, side, [(0.5 + sign * 0.06, 0.3), (0.5 + sign * 0.33, 0.42), tip], fur)
    skull(pen, side, fur, random)
    eyes(pen, side, random)
    ellipse(pen, side, 0.5, 0.66, 0.1, 0.07, shade(fur, 30))
    polygon(pen, side, [(0.46, 0.61), (0.54, 0.61), (0.5, 0.65)], BLACK)
    for sign in (-1, 1):
        for slope in random.normal(0, 0.06, 3):
            ends = [(0.5 + sign * 0.1, 0.66), (0.5 + sign * 0.42, 0.66 + slope)]
            pen.line([(x * side, y * side) for x, y in ends], fill=shade(fur, 80), width=max(1, int(side / 90)))


def dog(pen: ImageDraw.ImageDraw, side: float, random: Random) -> None:
    """Hanging ears, a long muzzle with a broad nose, sometimes the tongue out."""
    fur = colour(random)
    skull(pen, side, fur, random)
    hang = random.uniform(0.14, 0.22)
    for sign in (-1, 1):
        ellipse(pen, side, 0.5 + sign * random.uniform(0.27, 0.33), 0.4 + hang / 2, 0.075, hang, shade(fur, -45))
    eyes(pen, side, random)
    if random.random() < 0.4:
        ellipse(pen, side, 0.5, 0.85, 0.05, 0.09, (220, 90, 110))
    ellipse(pen, side, 0.5, 0.7, 0.14, random.uniform(0.12, 0.16), shade(fur, 30))
    ellipse(pen, side, 0.5, 0.63, 0.07, 0.045, BLACK)


def skull(pen: ImageDraw.ImageDraw, side: float, fur: Colour, random: Random) -> None:
    """A round head with up to three patches."""
    ellipse(pen, side, 0.5, 0.53, random.uniform(0.26, 0.32), random.uniform(0.27, 0.33), fur)
    for x, y in random.uniform(0.33, 0.67, (random.integers(0, 4), 2)):
        ellipse(pen, side, x, y, 0.05, 0.05, shade(fur, int(random.integers(-60, 60))))


def eyes(pen: ImageDraw.ImageDraw, side: float, random: Random) -> None:
    """Two round eyes of any colour."""
    apart, radius = random.uniform(0.1, 0.14), random.uniform(0.03, 0.05)
    iris = colour(random)
    for sign in (-1, 1):
        ellipse(pen, side, 0.5 + sign * apart, 0.47, radius, radius, iris)
        ellipse(pen, side, 0.5 + sign * apart, 0.47, radius / 2, radius / 1.4, BLACK)


def ellipse(pen: ImageDraw.ImageDraw, side: float, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
    """Centre and radii as shares of the side."""
    pen.ellipse(((x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side), fill=fill)


def polygon(pen: ImageDraw.ImageDraw, side: float, corners: list[tuple[float, float]], fill: Colour) -> None:
    """Corners as shares of the side."""
    pen.polygon([(x * side, y * side) for x, y in corners], fill=fill)


def colour(random: Random) -> Colour:
    """Any RGB colour but the darkest and the brightest."""
    return tuple(random.integers(30, 226, 3).tolist())


def shade(fill: Colour, by: int) -> Colour:
    """Lighter or darker, within 0..255."""
    return tuple(int(np.clip(channel + by, 0, 255)) for channel in fill)


def noisy(pixels: NDArray[np.uint8], random: Random) -> NDArray[np.uint8]:
    """Light from half to a third more, and grain, as a small sensor in bad light gives."""
    light, grain = random.uniform(0.55, 1.3), random.uniform(4, 24)
    return np.clip(pixels * light + random.normal(0, grain, pixels.shape), 0, 255).astype(np.uint8)
