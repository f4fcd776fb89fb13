"""What the user should know beside the results, on stderr: how far it has come, what is left out, what is broken."""

import sys
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING

from tqdm import tqdm

from smallset.pipeline import progress, text

if TYPE_CHECKING:
    from smallset.cli.prediction import Answer


def say(lines: Iterable[str]) -> None:
    """Each on a line of its own, above a bar where there is one."""
    for line in lines:
        tqdm.write(text.visible(line), file=sys.stderr)


def complain(answers: Iterable["Answer"]) -> int:
    """Name each file that does not decode; return their number."""
    broken = [f"{answer.path}: {answer.error}" for answer in answers if answer.error]
    say(broken)
    return len(broken)


def followed(answers: Iterable["Answer"], paths: Iterable[str], hidden: bool = False) -> Iterable["Answer"]:
    """The answers under a bar, or lines where stderr is no terminal; hidden: without."""
    total = len(paths) if isinstance(paths, Sized) else None
    return answers if hidden else progress.bar(answers, total=total, unit=" photos")
