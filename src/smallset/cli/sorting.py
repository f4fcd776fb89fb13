"""Photos copied into a folder for each label: never moved, never over another file, and each whole or not at all."""

import filecmp
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from smallset.cli import prediction
from smallset.cli.prediction import Answer, Asked
from smallset.datasets import names
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

UNSURE, UNLIKE = "unsure", "unlike"  # the folders for more labels than one, or none; for what is like no photo known
TABLE = "sorted.csv"
COLUMNS = ["file", "copy", "label", "probability", "unlike", "unlikeness", "possible", "error"]


def check(folder: Path, target: Path, classes: Sequence[str]) -> None:
    """SmallsetError for a target among the photos, or for labels that no folder can have."""
    if target.resolve().is_relative_to(folder.resolve()):
        raise SmallsetError(f"{target}: lies in {folder}, where copies would be sorted again. Name another with --to.")
    if target.exists() and not target.is_dir():
        raise SmallsetError(f"{target}: expected a folder, or nothing yet. Name another with --to.")
    if wrong := [name for name in classes if not names.usable(name)]:
        raise SmallsetError(f"the model has labels that no folder can have: {', '.join(map(repr, wrong))}.")


def others(classes: Sequence[str]) -> dict[str, str]:
    """The folders of UNSURE and UNLIKE: with a _ before, or several, where a class is called so."""
    taken, found = {names.same(name) for name in classes}, {}
    for name in (UNSURE, UNLIKE):
        free = name
        while names.same(free) in taken:
            free = f"_{free}"
        found[name] = free
    return found


def sort(answers: Iterable[Answer], target: Path, classes: Sequence[str], asked: Asked) -> Iterator[tuple[Answer, str]]:
    """Copy each photo, and yield the answer with the copy's folder, "" for what cannot be read; at last the table.

    A name that another file has in the folder gets a number: 1.jpg, 1-2.jpg. A copy with the same bytes is the copy, so
    that a second run changes nothing.
    """
    rows, folders = [prediction.row_of_csv(COLUMNS)], others(classes)
    target.mkdir(parents=True, exist_ok=True)
    for answer in answers:
        told, folder, copy = asked.told(answer, classes), "", ""
        label = [one for pair in prediction.best(answer, classes, 1) for one in pair] or ["", ""]
        if not answer.error:
            possible = asked.possible(answer, classes)
            sure = possible[0] if len(possible) == 1 else folders[UNSURE]
            folder = folders[UNLIKE] if told["unlike"] else sure
            copy = place(Path(answer.path), target / folder, Path(answer.path).name).relative_to(target).as_posix()
        cells = map(prediction.cell, told.values())
        rows.append(prediction.row_of_csv([*map(prediction.inert, (answer.path, copy)), *label, *cells, answer.error]))
        yield answer, folder
    draft = files.draft_path(target / TABLE)
    draft.write_bytes("".join(rows).encode("utf-8", "surrogateescape"))
    place(draft, target, TABLE)
    draft.unlink()


def place(source: Path, folder: Path, name: str) -> Path:
    """Copy a file into a folder, under its name or the first numbered one that is free or has the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    for number in itertools.count(2):
        if path.is_file() and filecmp.cmp(source, path, shallow=False):
            break
        if not os.path.lexists(path) and copied(source, path):
            break
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path


def copied(source: Path, path: Path) -> bool:
    """Copy a file to a free name, whole or not at all; False where somebody else has taken it meanwhile."""
    draft = files.draft_path(path.with_name(str(os.getpid())))
    try:
        files.copy(source, draft)
        try:
            os.link(draft, path)  # which never replaces a file
        except FileExistsError:
            return False
        except OSError:  # a memory card's file system has no links
            draft.rename(path)
    finally:
        files.remove(draft)
    return True
