"""A page for this machine to check the photos of a pipeline: every decision is written to corrections.csv at once."""

import contextlib
import functools
import json
import os
import threading
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from smallset.datasets import corrections, names
from smallset.pipeline import files, text
from smallset.pipeline.errors import SmallsetError
from smallset.reports import rendering, thumbnails
from smallset.web import queues, server

FOLDER = Path("data/review")  # thumbnails, the position and a lock, which nothing else uses
POSITION, THUMBNAILS = FOLDER / "position.json", FOLDER / "thumbnails"
NAMES = ("photos.csv", "split.json", "subset.json", "issues.csv", "label_issues.csv", "compare.csv")
TABLES = [Path("metrics") / name for name in NAMES]
SMALL, LARGE = 256, 1600  # px, at most, of a thumbnail and of a large picture
MAX_BYTES = 500_000_000  # of thumbnails that are kept from one start of the page to the next
DECODING_LIMIT = threading.Semaphore(max(1, min(4, (os.cpu_count() or 1) - 1)))  # each photo takes tens of megabytes
CACHE_LOCK = threading.Lock()  # for writing thumbnails: each has one draft
DIGITS = "0123456789"
UNDECIDED = ""  # takes a decision back
DECISIONS = (UNDECIDED, corrections.KEEP, corrections.RELABEL, corrections.LEAVE_OUT)
INVALID = "This is not a valid decision. Reload the page."

Decision = dict[str, str]  # sha256, decision, label; a decision that is taken back also has file, when and queue


class Review:
    """The photos of the pipeline in the current folder, and the decisions about them."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(FOLDER / "corrections.lock")
        self.album = _read_album(stat(*TABLES))
        remove_thumbnails()
        for row in self.corrections().values():  # reports a broken file before there is a page
            corrections.line(row)  # fills the cache, so that the first decision does not have to wait

    def corrections(self) -> corrections.Corrections:
        """All decisions by sha256, including those of other programs."""
        return _read_corrections(stat(corrections.FILE))

    def overview(self) -> dict[str, Any]:
        """What the page shows first: the queues with their sizes, the classes with their keys, and the position."""
        self.album = _read_album(stat(*TABLES))  # again if a stage has run
        shown = [*((queue.key, queue.title) for queue in self.album.queues), (queues.DECIDED, "Decided")]
        decided, classes = self.corrections(), self.album.classes
        return {
            "advice": {key: self.album.advise(key, decided) for key, _ in shown},
            "queues": [(key, title, len(self.album.list_items(key, decided))) for key, title in shown],
            "classes": [(f"{queues.CLASS}{name}", name, -1) for name in classes],
            "keys": assign_digits(classes),
            "position": read_position(),
        }

    def describe(self, sha256s: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the page shows about photos."""
        decided = self.corrections()
        photos = {sha256: self.album.photos[sha256]._asdict() for sha256 in sha256s if sha256 in self.album.photos}
        for sha256, photo in photos.items():
            photo["file"] = text.visible(photo["file"])
            photo["predictions"] = self.album.predictions.get(sha256, [])
            photo["decision"] = decided[sha256]._asdict() if sha256 in decided else None
        return photos

    def decide(self, queue: str, decisions: Sequence[Decision]) -> list[Decision]:
        """Write decisions; return the ones that they replace, with which `decide` can undo them."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        decisions, classes = [check_decision(decision) for decision in decisions], self.album.classes
        with self.lock:  # another window or program may write as well
            rows, previous = dict(self.corrections()), list[Decision]()
            for decision in decisions:
                sha256 = decision["sha256"]
                if sha256 not in self.album.photos:
                    raise SmallsetError("The photos of the pipeline have changed. Reload the page.")
                row = rows.pop(sha256, None)
                previous.append(row._asdict() if row else {"sha256": sha256, "decision": UNDECIDED, "label": ""})
                decision = keep_label(decision, self.album.photos[sha256], row, classes)
                if decision["decision"] != UNDECIDED:
                    values = {"file": self.album.photos[sha256].file, "when": now, "queue": queue} | decision
                    rows[sha256] = corrections.Correction(**values)
            corrections.check(rows, classes)
            corrections.write(corrections.FILE, rows)
        return previous

    def show_queue(self, request: Request) -> Response:
        """The items of a queue."""
        return JSONResponse(self.album.list_items(request.query_params.get("key", ""), self.corrections()))

    def show_photo(self, request: Request) -> Response:
        """A photo as a JPEG, because browsers do not read every format of files. Thumbnails are cached."""
        sha256, large = request.path_params["sha256"], "/photo/" in request.url.path
        if sha256 not in self.album.photos:
            return PlainTextResponse("no such photo\n", 404)
        path, cached = Path(self.album.photos[sha256].file), THUMBNAILS / sha256[:2] / f"{sha256}.jpg"
        if not large and cached.is_file():
            content = cached.read_bytes()
        else:
            with DECODING_LIMIT:
                content = thumbnails.encode_jpeg(thumbnails.shrink(path, LARGE if large else SMALL))
            if not large:
                with CACHE_LOCK, contextlib.suppress(OSError), files.atomic_write(cached, durable=False) as draft:
                    draft.write_bytes(content)  # the photo is shown even when the disk is full
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


def stat(*paths: Path) -> tuple[Any, ...]:
    """Numbers that change when a file is written."""
    stats = [path.stat() if path.is_file() else None for path in paths]
    return tuple(stat and (stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


@functools.lru_cache(1)
def _read_album(_: tuple[Any, ...]) -> queues.Album:
    return queues.read_album(Path())


@functools.lru_cache(1)
def _read_corrections(_: tuple[Any, ...]) -> corrections.Corrections:
    return corrections.read(corrections.FILE)


def remove_thumbnails() -> None:
    """Remove the oldest thumbnails until the others take MAX_BYTES or less."""
    cached = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in THUMBNAILS.rglob("*.jpg"))
    excess = sum(size for _, size, _ in cached) - MAX_BYTES
    for _, size, path in cached:
        if excess > 0:
            path.unlink(missing_ok=True)
            excess -= size


def check_decision(decision: Decision) -> Decision:
    """A decision that the page sent, with a normalized label; SmallsetError when it is not valid."""
    kind, label = decision.get("decision"), unicodedata.normalize("NFC", decision.get("label", ""))
    valid = {"sha256", "decision"} <= set(decision) <= {*corrections.Correction._fields} and kind in DECISIONS
    if not valid or (kind == corrections.RELABEL) != bool(label):
        raise SmallsetError(INVALID)
    if label and not names.is_usable_label(label):
        raise SmallsetError(
            f"{label} cannot be a label, because it cannot be the name of a folder. Choose another one."
        )
    return decision | {"label": label}


def keep_label(
    decision: Decision, photo: queues.Photo, row: corrections.Correction | None, classes: Sequence[str]
) -> Decision:
    """The decision to write for the label that the photo has: to keep it, or the correction that it comes from.

    A decision that is taken back, which has a time, stays as it was.
    """
    if "when" in decision or (decision["decision"] != corrections.KEEP and decision["label"] != photo.label):
        return decision
    folder = Path(photo.file).parent.name
    is_corrected = (row is not None and row.label == photo.label) or (folder in classes and folder != photo.label)
    kind, label = (corrections.RELABEL, photo.label) if is_corrected else (corrections.KEEP, "")
    return decision | {"decision": kind, "label": label}


def assign_digits(classes: Sequence[str]) -> dict[str, str]:
    """The keys for the first nine classes; a class that is a digit has its own key."""
    if all(name in DIGITS for name in classes):
        return {name: name for name in classes}
    return dict(zip(classes, DIGITS[1:], strict=False))


def read_position() -> dict[str, str]:
    """The queue and the photo that the page showed last."""
    try:
        position = json.loads(POSITION.read_text(encoding="utf-8"))
        return {"queue": str(position["queue"]), "sha256": str(position["sha256"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"queue": "", "sha256": ""}


def make_routes(review: Review, name: str, tab: str = "") -> list[Route]:
    """The page, as a `tab` of `smallset ui`, and its requests. They name photos by their sha256, never by a path."""
    page = rendering.render("smallset.web", "review.html", name=name, tab=tab)

    async def decide(request: Request) -> Response:
        body = await _read_body(request)
        return JSONResponse(await run_in_threadpool(review.decide, body["queue"], body.get("decisions", [])))

    return [
        Route("/", lambda _: HTMLResponse(page)),
        Route("/album", lambda _: JSONResponse(review.overview())),
        Route("/queue", review.show_queue),
        Route("/photos", lambda request: JSONResponse(review.describe(request.query_params.get("of", "").split(",")))),
        Route("/thumbnail/{sha256}", review.show_photo),
        Route("/photo/{sha256}", review.show_photo),
        Route("/decide", decide, methods=["POST"]),
        Route("/position", save_position, methods=["POST"]),
    ]


async def save_position(request: Request) -> Response:
    """Keep the queue and the photo that the page shows."""
    body = await _read_body(request)
    with files.atomic_write(POSITION, durable=False) as draft:
        draft.write_text(json.dumps({"queue": body["queue"], "sha256": str(body.get("sha256", ""))}))
    return Response(status_code=204)


async def _read_body(request: Request) -> dict[str, Any]:
    try:
        body: dict[str, Any] = await request.json()
        rows = body.get("decisions", [])
        if isinstance(body["queue"], str) and all(isinstance(value, str) for row in rows for value in row.values()):
            return body
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise SmallsetError(INVALID)


def run(browser: bool) -> None:
    """Serve the page of the pipeline in the current folder until Ctrl-C."""
    if not Path("dvc.yaml").is_file():
        raise SmallsetError(f"{Path.cwd()}: expected the folder of a project, found no dvc.yaml. Change to one.")
    name = text.project(Path.cwd())
    server.serve(make_routes(Review(), name), f"The photos of {text.visible(name)}", browser)
    print("The next dvc repro applies the decisions; git diff corrections.csv shows them.")
