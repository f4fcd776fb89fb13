"""Color profiles: photos become sRGB, which browsers show and networks were trained on."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # mode -> its name in a profile
SRGB = ImageCms.createProfile("sRGB")
EXACT = ImageCms.Flags.NOOPTIMIZE  # flag of ImageCms: without a table, which is up to 31 levels off for CIE L*a*b*
SAME = 2  # levels: a profile that changes no color by more is one of the many versions of sRGB
SRGB_GAMMA = 1 / 2.2  # as in the chunk gAMA of a PNG


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image of mode L, RGB, RGBA, CMYK or LAB; the same image if its profile is missing, sRGB's or broken.

    An image in the profile of another color space, for example in gray with a profile for RGB, is converted to that
    space, except from or to CMYK.
    """
    if image.mode == "LAB":
        return _apply(ImageCms.buildTransform(ImageCms.createProfile("LAB"), SRGB, "LAB", "RGB", flags=EXACT), image)
    space = _read_space(profile) if profile else None
    if not profile or space is None or (space == "CMYK") != (image.mode == "CMYK"):
        return image
    transform = _make_transform(profile, space)
    if transform is None:
        return image
    converted = _apply(transform, image if image.mode == space else image.convert(space))
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted: Any = ImageCms.applyTransform(image, transform)
    return converted  # it is None only for a conversion in place


@lru_cache(maxsize=8)
def _read_space(profile: bytes) -> str | None:
    """The mode of the images that a profile describes."""
    try:
        name = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (OSError, TypeError, ImageCms.PyCMSError):  # TypeError: a TIFF's tag may have any type
        return None
    return next((mode for mode, space in SPACES.items() if space == name), None)


@lru_cache(maxsize=8)
def _make_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None if it would not change colors, or is broken."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, SRGB, mode, "RGB")
        levels = np.arange(0, 256, 17, dtype=np.uint8)
        grid = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(64, 64, 3))
        probe = grid if mode == "RGB" else grid.convert(mode)
        changed = np.asarray(_apply(transform, probe), np.int16)
    except (OSError, ImageCms.PyCMSError):
        return None
    same = mode != "CMYK" and np.abs(changed - np.asarray(probe.convert("RGB"))).max() <= SAME
    return None if same else transform


def correct_gamma(image: Image.Image, gamma: float) -> Image.Image:
    """Convert an image of mode L, RGB or RGBA whose values are light ** gamma, as the chunk gAMA of a PNG says."""
    if not 0.01 < gamma < 100 or abs(gamma / SRGB_GAMMA - 1) < 0.02:
        return image
    light = (np.arange(256) / 255) ** (1 / gamma)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    table = np.rint(encoded * 255).astype(int).tolist()
    same = list(range(256))
    return image.point([level for band in image.getbands() for level in (same if band == "A" else table)])
