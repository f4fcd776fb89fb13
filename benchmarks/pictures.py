"""The photos of a measurement: copies of those of a folder, as many as wanted, or drawn pictures."""

import shutil
from pathlib import Path

from smallset.datasets import synthetic

DRAWN = 64  # pictures a class
SIZE = 400  # px, about a photo's of dogs vs cats


def draw(folder: Path) -> Path:
    """Draw pictures to `folder`/<class>/, as large as photos, so that decoding costs as much; return the folder."""
    synthetic.draw(folder, DRAWN, SIZE, seed=0)
    return folder


def copy(folder: Path, target: Path, count: int, skip: int = 0) -> None:
    """Copy `count` photos, as many of each class, to `target`/<class>/ under new names.

    skip: how many of a class to pass over. When a class runs out, it starts again.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    for label in classes:
        sources = sorted(label.resolve().iterdir())
        (target / label.name).mkdir(parents=True)
        for number in range(count // len(classes)):
            source = sources[(skip + number) % len(sources)]
            shutil.copyfile(source, target / label.name / f"{number}{source.suffix}")
