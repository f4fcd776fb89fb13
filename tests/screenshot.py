"""The picture in README.md: the top of the sample's report, whose generated pictures may be committed.

Run it after dvc --cd sample repro: python tests/screenshot.py (needs Chromium).
"""

from io import BytesIO
from pathlib import Path

import browser
from PIL import Image

ROOT = Path(__file__).parents[1]
REPORT, PICTURE = ROOT / "sample/plots/report.html", ROOT / "docs/report.png"
WIDTH = 1100  # px
END = "Math.round(document.querySelector('#errors').getBoundingClientRect().top)"  # below the mistakes
COLORS = 192  # which halves the size of the file


def main() -> None:
    """Write what a window shows of the page."""
    with browser.open_page(WIDTH) as page:
        page.goto(REPORT.as_uri())
        height = page.evaluate(END)
        content = page.screenshot(full_page=True)
    with Image.open(BytesIO(content)) as image:
        top = image.convert("RGB").crop((0, 0, WIDTH, height))
    top.quantize(COLORS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
