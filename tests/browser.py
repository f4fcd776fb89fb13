"""Pages in Chromium, servers and clients for them, and photos of many kinds."""

import functools
import http.server
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import profiles
import pytest
from PIL import Image, PngImagePlugin

from smallset.datasets import synthetic

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
AXE = "axe-core@4.14.1"
FLAGS = [
    *["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    *["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
]


@contextmanager
def open_page(width: int = 1280) -> Iterator[Any]:
    """A page of Playwright in a new Chromium with a camera; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            page = chromium.new_context(viewport={"width": width, "height": 900}).new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            yield page
            assert errors == []
        finally:
            chromium.close()


@functools.cache
def read_axe() -> str:
    """The script of axe-core, which checks accessibility; "" where npm cannot fetch it."""
    with tempfile.TemporaryDirectory() as folder:
        npm = ["npm", "pack", AXE]
        if not shutil.which("npm") or subprocess.run(npm, cwd=folder, capture_output=True, check=False).returncode:
            return ""
        with tarfile.open(Path(folder) / f"{AXE.replace('@', '-')}.tgz") as archive:
            content = archive.extractfile("package/axe.min.js")
            assert content
            return content.read().decode()


def assert_fits(page: Any) -> None:
    """No part of the page is wider than a phone or a laptop."""
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def select_folder(page: Any, folder: Path, attempts: int = 3) -> None:
    """On the same page, select a folder, and wait until its photos are there.

    Sometimes nothing happens when a script selects a folder, for a reason that is not known; so it is selected again.
    """
    from playwright.sync_api import TimeoutError as NothingHappened

    for attempt in range(attempts):
        page.set_input_files("#select-folder", folder)
        try:
            page.locator("#status", has_text="Added").wait_for(timeout=15_000)
        except NothingHappened:
            if attempt == attempts - 1:
                raise
        else:
            return


def record(page: Any, name: str, times: int) -> None:
    """On the page for the whole workflow, hold the button of a class `times` times."""
    for number in range(1, times + 1):
        page.locator(f"#record-{name}").hover()
        page.mouse.down()
        page.wait_for_timeout(1200)
        page.mouse.up()
        recordings = f"{number} recording" + "s" * (number > 1)
        page.locator("#classes li").filter(has_text=name).filter(has_text=recordings).wait_for()
        page.get_by_role("status").filter(has_text="Added").wait_for()


def read_predictions(page: Any, count: int) -> dict[str, dict[str, Any]]:
    """What the page to try a model shows for each photo, once it has `count` of them."""
    page.locator(".verdict, article.error").nth(count - 1).wait_for(state="attached", timeout=200_000)
    return page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('article')].map((article) => [
          article.querySelector('h2').textContent,
          {
            text: article.innerText,
            verdict: article.querySelector('.verdict')?.textContent,
            set: article.querySelector('.prediction-set')?.textContent,
            probabilities: Object.fromEntries([...article.querySelectorAll('li')].map(
              (line) => [line.firstChild.textContent, line.querySelector('meter').value])),
          },
        ]))"""
    )


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a static server for a folder, like `python -m http.server`."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=os.fspath(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, ThreadPoolExecutor() as pool:
        pool.submit(server.serve_forever)
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


@contextmanager
def run(routes: Any) -> Iterator[str]:
    """The address, with the token, of a page of smallset.web that runs in a thread."""
    from smallset.web import server

    with socket.create_server((server.HOST, 0)) as listener, ThreadPoolExecutor() as pool:
        port = listener.getsockname()[1]
        running = server.make_server(server.make_app(routes, port, "token"))
        pool.submit(running.run, sockets=[listener])
        try:
            yield f"http://{server.HOST}:{port}/?token=token"
        finally:
            running.should_exit = True


def open_client(routes: Any) -> Any:
    """A client of such a page that has opened the address with the token."""
    from starlette.testclient import TestClient

    from smallset.web import server

    address = f"http://{server.HOST}:8123"
    client = TestClient(server.make_app(routes, 8123, "token"), base_url=address, headers={"origin": address})
    client.get("/?token=token")
    return client


def save_photos(folder: Path) -> list[Path]:
    """Photos in all orientations, small and large, gray, transparent, of many colors, and in several formats."""
    folder.mkdir()
    picture = synthetic.picture(synthetic.cat, 300, np.random.default_rng(0)).resize((300, 200))
    large = synthetic.picture(synthetic.dog, 600, np.random.default_rng(1))
    large = large.resize((4032, 3024), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    for orientation in (*range(1, 9), 6):
        exif[274] = orientation
        picture.save(folder / f"turned-{orientation}.jpg", exif=exif)
    large.save(folder / "large.jpg", exif=exif)
    large.resize((2051, 2049)).save(folder / "large-odd.jpg", progressive=True)
    large.resize((5203, 5001)).save(folder / "large.png", compress_level=1)
    for name in ("gray.jpg", "gray.png"):
        picture.convert("L").save(folder / name)
    faded = picture.convert("RGBA")
    faded.putalpha(Image.linear_gradient("L").resize(picture.size))
    faded.save(folder / "transparent.png", exif=exif)
    faded.quantize(64).save(folder / "transparent-palette.png")
    faded.save(folder / "transparent.webp", lossless=True)
    picture.save(folder / "<b>&.jpg", quality=60)
    picture.quantize(64).save(folder / "palette.gif")
    for name in ("wide-gamut.jpg", "wide-gamut.png"):
        picture.save(folder / name, icc_profile=profiles.make_profile(profiles.DISPLAY_P3, 2.2))
    gamma = PngImagePlugin.PngInfo()
    gamma.add(b"gAMA", (100_000).to_bytes(4))
    picture.save(folder / "gamma.png", pnginfo=gamma)
    return sorted(folder.iterdir())
