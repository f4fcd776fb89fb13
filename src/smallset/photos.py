"""Photos on disk: which there are, in what order, and their pixels. One decoder serves the whole pipeline."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from smallset.errors import SmallsetError

ENOUGH = 1024  # px, more than any network here takes

# Pillow warns of 89 megapixels and more, and refuses twice that: a file of a few kB can unpack to gigabytes.
warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Photos:
    """The photos of a folder of class folders, sorted by class and in numeric order."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]  # relative to folder: cat/cat.0.jpg
    labels: NDArray[np.int64]  # (n,), index into classes

    def paths(self) -> list[str]:
        """The files with their folder."""
        return [str(self.folder / file) for file in self.files]

    def at(self, rows: NDArray[np.int64]) -> "Photos":
        """The photos of these rows."""
        return replace(self, files=tuple(self.files[row] for row in rows), labels=self.labels[rows])

    def spread(self, count: int) -> NDArray[np.int64]:
        """Up to `count` rows, evenly spaced, so that every class has its share."""
        return np.unique(np.linspace(0, len(self.files) - 1, count).astype(np.int64))


def find(folder: Path) -> Photos:
    """List the photos of `folder`/<class>/; SmallsetError unless two classes or more have photos."""
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if len(classes) < 2:
        raise SmallsetError(
            f"{folder}: expected a folder for each class, two or more; found {len(classes)}: {', '.join(classes)}. "
            f"Sort the photos into one folder a class."
        )
    by_class = [files_of(folder / name) for name in classes]
    return Photos(
        folder,
        classes,
        tuple(f"{name}/{path.name}" for name, paths in zip(classes, by_class, strict=True) for path in paths),
        np.repeat(np.arange(len(classes)), [len(paths) for paths in by_class]),
    )


def files_of(folder: Path) -> list[Path]:
    """The files of one class folder in numeric order: cat.2.jpg before cat.10.jpg. Whether they decode shows later."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    paths = natsorted(files, key=lambda path: path.name)
    if not paths:
        raise SmallsetError(f"{folder}: no photo there. Add photos of that class, or take its folder away.")
    return paths


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
