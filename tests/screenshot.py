"""The picture in README.md: the top of the sample's report. Its photos are drawn, and so may be committed.

After dvc --cd sample repro: python tests/screenshot.py (with Chromium)
"""

import tempfile
from io import BytesIO
from pathlib import Path

import browser
from PIL import Image

ROOT = Path(__file__).parents[1]
REPORT, PICTURE = ROOT / "sample/plots/report.html", ROOT / "docs/report.png"
WIDTH = 1100  # px
END = "Math.round(document.querySelector('#errors').getBoundingClientRect().top)"  # below the mistakes
COLOURS = 192  # of the file, which has half the bytes of one in full colour


def main() -> None:
    """Open the page, and write what a window shows of it."""
    executable = browser.find()
    assert executable, "no Chromium here: apt-get install chromium"
    with tempfile.TemporaryDirectory() as profile, browser.page(executable, Path(profile)) as page:
        page.open(REPORT, WIDTH)
        height = page.ask(END)
        page.shoot(PICTURE)
    with Image.open(BytesIO(PICTURE.read_bytes())) as image:
        top = image.convert("RGB").crop((0, 0, WIDTH, height))
    top.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
