"""Chromium by Playwright for the pages on which a model is tried, and photos of all kinds to try it with."""

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from PIL import Image

from smallset.datasets import synthetic


def photos(folder: Path) -> list[Path]:
    """Upright and turned, small and large, grey, transparent, with a profile, progressive, and not JPEG."""
    folder.mkdir()
    picture = synthetic.picture(synthetic.cat, 300, np.random.default_rng(0)).resize((300, 200))
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[274] = turn
        picture.save(folder / f"turned-{turn}.jpg", exif=exif)
    large = synthetic.picture(synthetic.dog, 600, np.random.default_rng(1)).resize(
        (4032, 3024), Image.Resampling.BICUBIC
    )
    exif = Image.Exif()
    exif[274] = 6
    large.save(folder / "large.jpg", exif=exif)
    large.resize((2051, 2049)).save(folder / "large-odd.jpg", progressive=True)
    large.resize((5203, 5001)).save(folder / "large.png", compress_level=1)
    picture.convert("L").save(folder / "grey.jpg")
    picture.convert("L").save(folder / "grey.png")
    faded = picture.convert("RGBA")
    faded.putalpha(Image.linear_gradient("L").resize(picture.size))
    faded.save(folder / "transparent.png", exif=exif)
    faded.save(folder / "transparent.webp", lossless=True)
    picture.save(folder / "<b>&.jpg", quality=60)
    picture.quantize(64).save(folder / "palette.gif")
    return sorted(folder.iterdir())


@contextmanager
def page(width: int = 1280, dark: bool = False) -> Iterator[Any]:
    """A page of a Chromium of its own that reaches this machine alone; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    executable = browser.find()
    if executable is None:
        pytest.skip("no Chromium here")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=flags)
        try:
            scheme = "dark" if dark else "light"
            yield chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
        finally:
            chromium.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a static server for a folder, as `python -m http.server` is one."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=os.fspath(folder))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def answers(tab: Any, count: int) -> dict[str, dict[str, Any]]:
    """What the page says of each photo, by its name, once it says it of all."""
    tab.locator(".verdict, article.error").nth(count - 1).wait_for(state="attached", timeout=200_000)
    return tab.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('article')].map((article) => [
          article.querySelector('h2').textContent,
          {
            words: article.innerText,
            verdict: article.querySelector('.verdict')?.textContent,
            possible: article.querySelector('.possible')?.textContent,
            probabilities: Object.fromEntries([...article.querySelectorAll('li')].map(
              (line) => [line.firstChild.textContent, line.querySelector('meter').value])),
          },
        ]))"""
    )
