"""`smallset ui`: the whole workflow on one page."""

from pathlib import Path
from typing import Annotated

import typer

from smallset.cli.demo import Browser

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A project, or the folder of a new one.")]


def ui(folder: Folder = Path(), browser: Browser = True) -> None:
    """Create, train, check, try and export a classifier on a page that only this machine can open.

    Select folders of photos, drop photos, or record them with the camera; train, and see how good the model is. The
    page runs the same commands as you would in a terminal, and shows them. Training continues when the page, the
    browser or this command ends.
    """
    from smallset.web import ui as page

    page.run(folder, browser)
