"""Which photos go to training, validation and test: listing 8.6's rule, first come, first served."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from smallset import photos
from smallset.errors import SmallsetError


def copy_subset(raw: Path, target: Path, counts: dict[str, int]) -> dict[str, object]:
    """Fill `target`/<split>/<class>/ from `raw`/<class>/; return the counts, and the photos left out and why."""
    left_out: dict[str, str] = {}
    copied: dict[str, dict[str, int]] = {split: {} for split in counts}
    found = photos.find(raw)
    for label in found.classes:
        for split, files in assign(photos.files_of(raw / label), counts, left_out).items():
            copy(files, target / split / label)
            copied[split][label] = len(files)
    return {"photos": copied, "left_out": left_out}


def assign(files: Sequence[Path], counts: dict[str, int], left_out: dict[str, str]) -> dict[str, list[Path]]:
    """Give the first photos that decode to the first split, the next to the next; note the others in `left_out`.

    files: one class's photos, in order. counts: photos for each split. Raises SmallsetError when there are too few.
    """
    good = (file for file in files if decodes(file, left_out))
    splits = {name: list(itertools.islice(good, count)) for name, count in counts.items()}
    found, needed = sum(map(len, splits.values())), sum(counts.values())
    if found < needed:
        wanted = " + ".join(f"{count} {name}" for name, count in counts.items())
        raise SmallsetError(
            f"{files[0].parent}: expected {needed} photos that decode ({wanted}), found {found}. "
            f"Lower the counts of 'subset' in params.yaml, or add photos."
        )
    return splits


def decodes(file: Path, left_out: dict[str, str]) -> bool:
    """True, or False with the reason noted under <class>/<file>."""
    try:
        photos.decode(file)
    except SmallsetError as error:
        left_out[f"{file.parent.name}/{file.name}"] = str(error).removeprefix(f"{file}: ")
        return False
    return True


def copy(files: Sequence[Path], folder: Path) -> None:
    """Copy one split of one class, photo by photo: a link would let a change there reach the original."""
    folder.mkdir(parents=True)
    for file in tqdm(files, desc=f"{folder.parent.name}/{folder.name}", unit=" photos", disable=None):
        shutil.copyfile(file, folder / file.name)
