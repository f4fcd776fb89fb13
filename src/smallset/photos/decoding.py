"""One photo's pixels: the decoder of the whole pipeline."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from smallset.pipeline.errors import SmallsetError

ENOUGH = 1024  # px, more than any network here takes

# Pillow warns of 89 megapixels and more, and refuses twice that: a file of a few kB can unpack to gigabytes.
warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode(path: str | Path) -> NDArray[np.uint8]:
    """Decode in full, upright, to RGB (height, width, 3), uint8; SmallsetError says why a file does not decode.

    Of an animation the first frame; what is transparent is white; more than 8 bits are scaled to 8. A JPEG with both
    sides of 2 * ENOUGH px or more is halved, as often as it can be, while it is decoded.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (ENOUGH, ENOUGH))
            return np.asarray(_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError:
        raise SmallsetError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise SmallsetError(f"{path}: does not decode as a photo: no format that Pillow knows") from None
    except Exception as error:  # Pillow's decoders raise many kinds on broken bytes
        raise SmallsetError(f"{path}: does not decode as a photo: {error}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(_eight_bits(np.asarray(image, np.float64), image.mode))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _eight_bits(values: NDArray[np.float64], mode: str) -> NDArray[np.uint8]:
    """Values of 16 or 32 bits or floats as 0..255: Pillow would clip them. The smallest usual range that holds all."""
    values = np.nan_to_num(values)
    tops = [65535] if mode.startswith("I;16") else [1, 255, 65535, values.max()]
    top = next(top for top in tops if values.max() <= top)
    return np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)
