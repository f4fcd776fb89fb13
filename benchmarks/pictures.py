"""The photos of a measurement: generated pictures, or copies of the photos of a folder, as many as needed."""

import shutil
from dataclasses import replace
from pathlib import Path

from smallset.datasets import folders, synthetic
from smallset.datasets.dataset import Dataset
from smallset.pipeline import files

PER_CLASS = 64  # generated pictures
SIZE = 400  # px, about that of a photo of dogs-vs-cats


def draw(folder: Path) -> Path:
    """Draw pictures to `folder`/<class>/, as large as photos, so that decoding costs as much; return the folder."""
    synthetic.draw(folder, PER_CLASS, SIZE, seed=0)
    return folder


def copy(folder: Path, target: Path, count: int, skip: int = 0) -> None:
    """Copy `count` photos, equally many of each class, to `target`/<class>/ under new names.

    skip: how many photos of each class to leave out. After the last photo of a class comes the first one again.
    """
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    for label in classes:
        sources = sorted(label.resolve().iterdir())
        (target / label.name).mkdir(parents=True)
        for number in range(count // len(classes)):
            source = sources[(skip + number) % len(sources)]
            shutil.copyfile(source, target / label.name / f"{number}{source.suffix}")


def read(folder: Path) -> Dataset:
    """Read the photos in class folders, with their digests."""
    dataset, _ = folders.read_folder(folder)
    return replace(dataset, table=dataset.table.assign(sha256=[files.sha256(path) for path in dataset.paths]))
