"""A page on this machine to try a model: what it says of a photo, where it looked, and whether it knows such photos."""

import base64
import io
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smallset.images import decoding, formats
from smallset.models import limits, model_file
from smallset.models.limits import COVERAGE, RATE, Limits
from smallset.pipeline import text
from smallset.pipeline.errors import SmallsetError
from smallset.reports import gradcam
from smallset.web import server  # before Starlette: it says what to install where that is missing

from starlette.concurrency import run_in_threadpool  # isort: skip
from starlette.requests import Request  # isort: skip
from starlette.responses import JSONResponse, PlainTextResponse, Response  # isort: skip
from starlette.routing import Route  # isort: skip

LARGEST = 200_000_000  # bytes of a file; a phone's photo has 2 to 20 million
SIDE = 480  # px, at most, of the pictures that come back
WHERE = "The photo stays on this machine."

Answer = Callable[[NDArray[np.uint8]], dict[str, Any]]


class Known(NamedTuple):
    """A model, and what its file says of it."""

    model: keras.Model
    classes: tuple[str, ...]
    limits: Limits | None


def known(path: Path) -> Known:
    """Read a model file; SmallsetError where it is none."""
    return Known(*model_file.classifier(path), limits.load(path))


def routes(name: str, about: Known) -> list[Route]:
    """The page, and what it asks: POST /answer with the bytes of a photo."""
    answer, turn = answering(about), threading.Lock()

    def decided(content: Path) -> dict[str, Any]:
        pixels = decoding.decode(content)
        with turn:  # a model runs on all cores
            return answer(pixels)

    def shown(_: Request) -> Response:
        rates = {"rate": about.limits and RATE, "coverage": about.limits and COVERAGE}
        facts = {"model": name, "classes": about.classes, "static": "/static/", "script": "demo.js", "policy": ""}
        return server.page("try.html", **facts, **rates, where=WHERE, loading="")

    async def asked(request: Request) -> Response:
        with tempfile.TemporaryDirectory() as folder:
            photo = Path(folder) / f"photo{suffix(request.query_params.get('name', ''))}"
            try:
                await received(request, photo)
                return JSONResponse(await run_in_threadpool(decided, photo))
            except SmallsetError as error:
                return PlainTextResponse(text.lines(str(error).removeprefix(f"{photo}: ")), 422)

    return [Route("/", shown), Route("/answer", asked, methods=["POST"])]


def suffix(name: str) -> str:
    """The ending of a RAW file, for the decoder knows those by it; of any other name nothing."""
    found = formats.RAW.search(name)
    return found[0] if found else ""


async def received(request: Request, path: Path) -> None:
    """Write what is sent to a file, piece by piece; SmallsetError once it is more than LARGEST bytes."""
    size = 0
    with path.open("wb") as file:
        async for piece in request.stream():
            size += len(piece)
            if size > LARGEST:
                raise SmallsetError(f"This file is too large: at most {LARGEST // 10**6} MB are read.")
            file.write(piece)


def answering(about: Known) -> Answer:
    """A function of a photo's pixels (height, width, 3) to what page.js shows of it."""
    classes, bounds = about.classes, about.limits
    step = limits.answering(about.model, bounds)

    def answer(photo: NDArray[np.uint8]) -> dict[str, Any]:
        row = step(gradcam.squeezed(about.model, photo).numpy())[0]
        probability, unlikeness = row[: len(classes)], row[len(classes)]
        order = np.argsort(-probability, kind="stable").tolist()
        possible = bounds.possible(probability) if bounds else None
        return {
            "labels": [{"name": classes[label], "probability": float(probability[label])} for label in order],
            "unlike": bool(bounds.unlike(unlikeness)) if bounds else None,
            "possible": None if possible is None else [classes[label] for label in order if possible[label]],
            "pictures": pictures(about, photo, order[0]),
        }

    return answer


def pictures(about: Known, photo: NDArray[np.uint8], label: int) -> list[dict[str, str]]:
    """The photo, and the same under what speaks for a label, where the model can tell that."""
    small = Image.fromarray(photo)
    small.thumbnail((SIDE, SIDE))
    shown = [picture(np.asarray(small), "the photo", "")]
    try:
        heat = gradcam.heatmap(about.model, gradcam.squeezed(about.model, photo), label)
    except SmallsetError:
        return shown
    what = f"what speaks for {text.visible(about.classes[label])}"
    said = f"{heat.method}: red is {what}" if heat.values.any() else f"{what}: {heat.method}"
    return [*shown, picture(gradcam.heated(np.asarray(small), heat.values), f"heat map of {what}", said)]


def picture(pixels: NDArray[np.uint8], alt: str, caption: str) -> dict[str, str]:
    """Pixels (h, w, 3) as a JPEG in base64, what it is in words, and what stands below."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return {"jpeg": base64.b64encode(file.getvalue()).decode(), "alt": alt, "caption": caption}


def run(path: Path, browser: bool) -> None:
    """Serve the page of a model file until Ctrl-C."""
    server.serve(routes(path.stem, known(path)), f"A page to try {text.visible(path.stem)}", browser)
