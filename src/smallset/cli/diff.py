"""`smallset diff`: compare the results with those of an earlier commit."""

from pathlib import Path
from typing import Annotated

import typer

from smallset.cli import console
from smallset.pipeline import dvc_lock, text

Revision = Annotated[str, typer.Argument(metavar="REVISION", help="A commit, a branch or a tag of git.")]


def diff(revision: Revision = "HEAD") -> None:
    """Compare the results of a project with those of an earlier commit.

    Run it in the project's folder. It prints which photos and labels have changed, and which models are better or worse
    on the test photos that both runs have.
    """
    from smallset.evaluation import diff as comparison

    console.print_notes(dvc_lock.describe_project())
    print(text.lines(comparison.against(Path("metrics"), revision)))
