"""The pictures in README.md and docs/gallery.md: the pages of a small project of generated pictures.

    python tests/screenshot.py

It draws pictures of cats and dogs, some of them with a wrong label or a fault, runs `smallset init` and `dvc repro` in
a temporary folder, and opens the pages. It needs Chromium and a few minutes, and it downloads the weights of the
backbone (13 MB) unless SMALLSET_WEIGHTS names them.
"""

import contextlib
import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import browser
import projects
from PIL import Image, ImageDraw, ImageFilter

from smallset.datasets import synthetic
from smallset.models.classifier import Classifier
from smallset.web import demo, review, ui

ROOT = Path(__file__).parents[1]
WIDTH = 1100  # px
PHOTOS_PER_CLASS = 150
LINE = "This is a page of text. It is neither a cat nor a dog."  # which a model should not know
COLORS = 192  # which halves the size of a file
WAIT = 3_600_000  # ms, at most, for a run
END = "Math.round(document.querySelector('#errors').getBoundingClientRect().top)"  # below the mistakes


def main() -> None:
    """Write the picture of each page."""
    with tempfile.TemporaryDirectory() as name:
        project = make_project(Path(name))
        with browser.open_page(WIDTH) as page:
            take_ui(page, project, Path(name))
            take_report(page, project)
            take_review(page, project)
            take_demo(page, project, Path(name))


def make_project(folder: Path) -> Path:
    """A project of generated pictures in which no stage has run."""
    photos = folder / "photos"
    synthetic.draw(photos, PHOTOS_PER_CLASS, 200, seed=0)
    for number in (3, 11, 23, 42, 77, 101):
        (photos / f"dog/dog.{number}.jpg").rename(photos / f"cat/wrong.{number}.jpg")
    shutil.copyfile(photos / "cat/cat.5.jpg", photos / "cat/copy.5.jpg")
    with Image.open(photos / "dog/dog.7.jpg") as picture:
        picture.filter(ImageFilter.GaussianBlur(6)).save(photos / "dog/blurry.7.jpg")
    with Image.open(photos / "cat/cat.9.jpg") as picture:
        picture.point(lambda value: value // 12).save(photos / "cat/dark.9.jpg")
    projects.run(folder, "smallset", "init", "cats-and-dogs", "--photos", "photos")
    return folder / "cats-and-dogs"


def take_ui(page: Any, project: Path, folder: Path) -> None:
    """The page for the whole workflow: with the photos of a new project, and while a project trains."""
    (folder / "empty").mkdir()
    with contextlib.chdir(folder / "empty"):
        ui.open_folder(folder / "empty/pets")
        with browser.run(ui.make_routes()) as address:
            page.goto(address)
            page.set_input_files("#select-folder", folder / "photos")
            page.fill("#class-name", "neither")
            page.press("#class-name", "Enter")
            page.click("#camera")
            browser.record(page, "neither", 3)
            save(page, "ui", 1100)
    with contextlib.chdir(project), browser.run(ui.make_routes()) as address:
        page.goto(address)
        page.get_by_role("link", name="Train").click()
        page.get_by_role("button", name="Train", exact=True).click()
        page.locator("#chart-caption", has_text="epoch 4").wait_for(timeout=WAIT)
        save(page, "ui-train", 1000)
        page.locator("#job-title", has_text="dvc repro: done").wait_for(timeout=WAIT)


def take_report(page: Any, project: Path) -> None:
    """The top of the report."""
    page.goto((project / "plots/report.html").as_uri())
    save(page, "report", page.evaluate(END))


def take_review(page: Any, project: Path) -> None:
    """The page to review photos, at the photos whose labels may be wrong."""
    with contextlib.chdir(project), browser.run(review.make_routes(review.Review(), project.name)) as address:
        page.goto(address)
        page.wait_for_load_state("networkidle")
        save(page, "review")


def take_demo(page: Any, project: Path, folder: Path) -> None:
    """The page to try a model, with a new picture of a dog and a page of text."""
    synthetic.draw(folder / "new", 1, 300, seed=5)
    page_of_text = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(page_of_text).multiline_text((10, 5), "\n".join([LINE] * 20), fill="black")
    page_of_text.save(folder / "new/text.jpg")
    classifier = Classifier.load(project / "models/fine_tuned.keras")
    with browser.run(demo.make_routes("fine_tuned", classifier)) as address:
        page.goto(address)
        page.locator("#files:enabled").focus()
        page.set_input_files("#files", [folder / "new/dog/dog.0.jpg", folder / "new/text.jpg"])
        browser.read_predictions(page, 2)
        save(page, "demo")


def save(page: Any, name: str, height: int = 900) -> None:
    """Save the top of a page as docs/<name>.png."""
    path = ROOT / f"docs/{name}.png"
    with Image.open(BytesIO(page.screenshot(full_page=True))) as image:
        top = image.convert("RGB").crop((0, 0, WIDTH, min(height, image.height)))
    top.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
