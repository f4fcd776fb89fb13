"""`smallset demo`: try a model on a page."""

from typing import Annotated

import typer

from smallset.cli import options

Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page, or only print its address.")]


def demo(model: options.Model, browser: Browser = True) -> None:
    """Try a model on a page that only this machine can open.

    Drop, choose or paste photos, or use the camera. The page shows the labels with their probabilities, a heat map of
    where the model sees evidence, and "None of these" when a photo probably shows none of the classes.
    """
    from smallset.web import demo as page

    page.run(model, browser)
