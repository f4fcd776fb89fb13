"""What commands print beside their results, on stderr: progress, notes, and files that cannot be read."""

import sys
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from smallset.pipeline import progress, text

if TYPE_CHECKING:
    from smallset.models.classifier import Classifier, Prediction


def load_classifier(path: Path) -> "Classifier":
    """Load a model."""
    from smallset.models.classifier import Classifier

    return Classifier.load(path)


def print_notes(notes: Iterable[str]) -> None:
    """Print each note on a line of its own, above a progress bar if there is one."""
    for note in notes:
        tqdm.write(text.visible(note), file=sys.stderr)


def follow(predictions: "Iterable[Prediction]", paths: Iterable[str], hidden: bool = False) -> "Iterator[Prediction]":
    """Yield the predictions below a progress bar, and name each file that cannot be read. hidden: without a bar."""
    total = len(paths) if isinstance(paths, Sized) else None
    for prediction in predictions if hidden else progress.bar(predictions, total=total, unit=" photos"):
        if prediction.error:
            print_notes([f"{prediction.file}: {prediction.error}"])
        yield prediction
