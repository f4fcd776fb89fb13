"""A page for this machine to try a model: its predictions, where it sees evidence, and whether a photo is unknown."""

import base64
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from smallset.images import decoding, formats
from smallset.models.classifier import Classifier
from smallset.pipeline import text
from smallset.pipeline.errors import SmallsetError
from smallset.reports import gradcam, thumbnails
from smallset.web import server, static_page

MAX_BYTES = 200_000_000  # of a file; photos of phones have 2 to 20 million
SIZE = 480  # px, at most, of the pictures in an answer
PRIVACY = "The photo stays on this machine."


def make_routes(name: str, classifier: Classifier, tab: str = "") -> list[Route]:
    """The page, as a `tab` of `smallset ui`, and POST /answer with the bytes of a photo."""
    values = {"policy": "", "static": "/static/", "script": "demo.js", "privacy": PRIVACY, "loading": "", "tab": tab}
    page, lock = static_page.render_page(name, classifier, **values), threading.Lock()

    def predict(path: Path) -> dict[str, Any]:
        photo = decoding.decode(path)
        with lock:  # one prediction uses all cores
            return describe(classifier, photo)

    async def answer(request: Request) -> Response:
        raw = formats.RAW.search(request.query_params.get("name", ""))  # the decoder knows RAW files by their ending
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"photo{raw[0] if raw else ''}"
            try:
                with path.open("wb") as file:
                    await server.save_body(request, file, MAX_BYTES)
                return JSONResponse(await run_in_threadpool(predict, path))
            except SmallsetError as error:
                return PlainTextResponse(text.lines(str(error).removeprefix(f"{path}: ")), 422)

    return [Route("/", lambda _: HTMLResponse(page)), Route("/answer", answer, methods=["POST"])]


def describe(classifier: Classifier, photo: NDArray[np.uint8]) -> dict[str, Any]:
    """The prediction for a photo (height, width, 3), as page.js shows it."""
    prediction, reference = classifier.predict(photo), classifier.reference
    order = np.argsort(-prediction.probabilities, kind="stable").tolist()
    probabilities = prediction.probabilities.tolist()
    return {
        "labels": [{"name": classifier.classes[label], "probability": probabilities[label]} for label in order],
        "ood_score": prediction.ood_score / reference.threshold() if reference else None,
        "unknown": prediction.unknown if reference else None,
        "prediction_set": prediction.prediction_set if reference else None,
        "pictures": [*draw_pictures(classifier, photo, order[0])],
    }


def draw_pictures(classifier: Classifier, photo: NDArray[np.uint8], label: int) -> Iterator[dict[str, str]]:
    """The photo, and beside it the photo under the heat map for a label, if the network allows one."""
    small = thumbnails.shrink(photo, SIZE)
    pictures = [(small, "the photo", "")]
    with contextlib.suppress(SmallsetError):
        heatmap = gradcam.compute_heatmap(classifier.network, classifier.resize(photo), label)
        evidence = f"evidence for {text.visible(classifier.classes[label])}"
        caption = f"{heatmap.method}: red is the strongest {evidence}" if heatmap.values.any() else heatmap.method
        pictures.append((gradcam.blend(small, heatmap.values), f"heat map of the {evidence}", caption))
    for pixels, alt, caption in pictures:
        yield {"jpeg": base64.b64encode(thumbnails.encode_jpeg(pixels)).decode(), "alt": alt, "caption": caption}


def run(path: Path, browser: bool) -> None:
    """Serve the page of a model file until Ctrl-C."""
    server.serve(make_routes(path.stem, Classifier.load(path)), f"A page to try {text.visible(path.stem)}", browser)
