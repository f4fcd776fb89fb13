"""A model on a page of its own: what stands beside its .onnx file in a folder for any static server."""

import shlex
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from smallset.models.limits import COVERAGE, RATE, Limits
from smallset.pipeline import files
from smallset.web import onnxruntime_web, pages

# Nothing but this folder may be loaded, or written to; only the model's runtime is compiled in the page.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
FILES = ("app.js", "icon.svg", "page.js", "photo.js", "try.css")
ROUNDED = 1e-12  # of 1 - (1 - p)
LOADING = (
    "The model is being loaded. Opened as a file this page cannot load it: in its folder run python -m http.server, "
    "and open http://localhost:8000"
)


def write(folder: Path, model: str, classes: Sequence[str], side: int, limits: Limits | None) -> None:
    """Put the page, onnxruntime-web with its licences, and model.json into a folder that has model.onnx.

    model: its name; side: px, of the square that it takes.
    """
    for name in FILES:
        shutil.copyfile(pages.STATIC / name, folder / name)
    inner = folder / "onnxruntime-web"
    inner.mkdir()
    for name in onnxruntime_web.FILES:  # some servers do not know that .mjs is JavaScript
        shutil.copyfile(onnxruntime_web.folder() / name, inner / name.replace(".mjs", ".js"))
    for name in ("LICENSE", "ThirdPartyNotices.txt"):  # which npm's package has not, and that for Python has
        (inner / name).write_bytes(resources.files("onnxruntime").joinpath(name).read_bytes())
    about = {"classes": [*classes], "side": side, "possible": limits and possible(limits)}
    files.write_json(folder / "model.json", about)
    facts = {"policy": POLICY, "static": "", "script": "app.js", "model": model, "classes": classes}
    where = "The photo stays in this browser: nothing is sent anywhere."
    rates = {"rate": limits and RATE, "coverage": limits and COVERAGE}
    files.write_text(folder / "index.html", pages.rendered("try.html", **facts, **rates, where=where, loading=LOADING))


def possible(limits: Limits) -> float:
    """The 1 - P(label) up to which a label stays possible."""
    doubt = np.append(limits.doubt, 1.0)
    return float(doubt[limits.possible(1 - doubt + ROUNDED)].max())


def description(folder: Path, limits: Limits | None) -> str:
    """What the folder is, how to open it, and what the page tells."""
    told = (
        'The page tells which labels stay possible, and which photos are "none of these".'
        if limits
        else "The model's file does not tell which photos are unlike those that it knows: the page labels any photo."
    )
    return (
        f"{folder}: {megabytes(folder)}, for any static server or for GitHub Pages. It sends nothing anywhere.\n"
        f"Opened as a file it cannot load the model. Here: python -m http.server --bind 127.0.0.1 --directory "
        f"{shlex.quote(str(folder))} 8000, then open http://127.0.0.1:8000\n"
        f"{told}"
    )


def megabytes(path: Path) -> str:
    """The size of a file, or of all in a folder, in words."""
    return f"{sum(file.stat().st_size for file in (path, *path.rglob('*')) if file.is_file()) / 1e6:.1f} MB"
