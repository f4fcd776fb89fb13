"""A page on this machine to look through photos and put them right: what is decided goes to corrections.csv."""

import json
import shlex
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from smallset.datasets import corrections, names
from smallset.evaluation import changes
from smallset.pipeline import files, stage, text
from smallset.pipeline.errors import SmallsetError
from smallset.web import queues, server  # serving before Starlette: it says what to install where that is missing
from smallset.web.thumbnails import LARGE, Thumbnails, jpeg

from filelock import FileLock  # isort: skip
from starlette.concurrency import run_in_threadpool  # isort: skip
from starlette.requests import Request  # isort: skip
from starlette.responses import JSONResponse, PlainTextResponse, Response  # isort: skip
from starlette.routing import Route  # isort: skip

METRICS, SUBSET = Path("metrics"), Path("data/subset")
OWN = Path("data/review")  # nobody else's: thumbnails, where one was, and a lock
PLACE = OWN / "place.json"
DIGITS = "0123456789"
DECISIONS = ("", corrections.KEEP, corrections.RELABEL, corrections.LEAVE_OUT)  # "": not decided after all

Decided = dict[str, str]  # digest, decision, label, and of one that is taken back when and queue


class Desk:
    """The photos of the pipeline in this folder, and what is decided about them."""

    def __init__(self) -> None:
        self.raw = Path(shlex.split(stage.graph()["subset"]["cmd"])[-1])
        OWN.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(OWN / "corrections.lock")
        self.thumbnails = Thumbnails(OWN / "thumbnails")
        self.seen, self.album = self.state(), self.read()
        self.known: tuple[Any, corrections.Corrections] = (None, {})
        for one in self.decided().values():  # a broken file is said before there is a page
            corrections.line(one)  # or the first decision would wait for those of all

    def read(self) -> queues.Album:
        """The album as the stages have left it."""
        return queues.read(METRICS, SUBSET, self.raw)

    def state(self) -> list[int]:
        """What differs once `subset` or the models have run again."""
        paths = [METRICS / "subset.json", METRICS / "suspects.csv", METRICS / "compare.csv"]
        paths += [METRICS / "subset" / f"{split}.csv" for split in changes.SPLITS]
        return [path.stat().st_mtime_ns if path.exists() else 0 for path in paths]

    def decided(self) -> corrections.Corrections:
        """What is decided, by whomever; read again where the file is another one."""
        known = self.known  # once: another thread may put there what it has read before
        if known[0] is None or known[0] != version():
            known = self.known = (version(), corrections.read(corrections.FILE))
        return known[1]

    def opened(self) -> dict[str, Any]:
        """What the page begins with."""
        if (state := self.state()) != self.seen:
            self.seen, self.album = state, self.read()
        decided = self.decided()
        counts = [(queue.key, queue.title, len(self.album.asked(queue.key, decided))) for queue in self.album.queues]
        counts.append((queues.DECIDED, "Decided", len(self.album.asked(queues.DECIDED, decided))))
        sizes = [(f"{queues.CLASS}{name}", name, -1) for name in self.album.classes]
        return {"queues": counts, "classes": sizes, "keys": keys(self.album.classes), "place": place()}

    def queue(self, key: str) -> list[queues.Item]:
        """What a queue asks now."""
        return self.album.asked(key, self.decided())

    def about(self, digests: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What the page shows of photos."""
        decided = self.decided()
        found = {digest: self.album.photos[digest] for digest in digests if digest in self.album.photos}
        return {
            digest: {
                "file": text.visible(photo.file),
                "label": photo.label,
                "split": photo.split,
                "says": self.album.says.get(digest, []),
                "decided": decided[digest]._asdict() if digest in decided else None,
            }
            for digest, photo in found.items()
        }

    def decide(self, queue: str, wanted: Sequence[Decided]) -> list[Decided]:
        """Write decisions; return what they replace, which `decide` takes in turn to undo them."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted = [checked(one) for one in wanted]
        with self.lock:  # another window, or another smallset, may write, too
            found = dict(self.decided())
            before = [found[one["digest"]]._asdict() if one["digest"] in found else undecided(one) for one in wanted]
            for one in wanted:
                photo = self.album.photos.get(one["digest"])
                if photo is None:
                    raise SmallsetError("The pipeline has other photos now. Load this page again.")
                row = {"file": photo.file, "when": now, "queue": queue} | one
                if one["decision"]:
                    found[one["digest"]] = corrections.Correction(**row)
                else:
                    found.pop(one["digest"], None)
            corrections.check(found, self.album.classes)
            corrections.write(corrections.FILE, found)
            self.known = (version(), found)
        return before


def version() -> tuple[int, ...] | None:
    """What differs once the file of decisions has been written again; None where there is none."""
    try:
        stat = corrections.FILE.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def undecided(one: Decided) -> Decided:
    """That nothing is decided about a photo."""
    return {"digest": one["digest"], "decision": "", "label": ""}


def checked(one: Decided) -> Decided:
    """A decision as the page sends it, if it is one."""
    decision, label = one.get("decision"), unicodedata.normalize("NFC", one.get("label", ""))
    told = {"digest", "decision"} <= set(one) <= {*corrections.Correction._fields} and decision in DECISIONS
    if not told or (decision == corrections.RELABEL) != bool(label):
        raise SmallsetError("This is no decision. Load this page again.")
    if label and not names.usable(label):
        raise SmallsetError(f"{label} cannot be a label: it is to be a folder's name. Choose another.")
    return one | {"label": label}


def keys(classes: Sequence[str]) -> dict[str, str]:
    """The digit key of each class, of the first nine: classes that are digits have their own."""
    if all(name in DIGITS for name in classes):
        return {name: name for name in classes}
    return dict(zip(classes, DIGITS[1:], strict=False))


def place() -> dict[str, str]:
    """Where the page was last; nowhere when that is not known."""
    try:
        found = json.loads(PLACE.read_text(encoding="utf-8"))
        return {"queue": str(found["queue"]), "digest": str(found["digest"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"queue": "", "digest": ""}


def routes(desk: Desk, name: str) -> list[Route]:
    """The page, and what its script asks and tells."""
    return [*shown(desk, name), *told(desk)]


def shown(desk: Desk, name: str) -> list[Route]:
    """What can be looked at. A photo is named by its digest: no path comes from outside."""

    def page(_: Request) -> Response:
        return server.page("review.html", name=name)

    def opened(_: Request) -> Response:
        return JSONResponse(desk.opened())

    def queue(request: Request) -> Response:
        return JSONResponse(desk.queue(request.query_params.get("key", "")))

    def photos(request: Request) -> Response:
        return JSONResponse(desk.about(request.query_params.get("of", "").split(",")))

    def thumbnail(request: Request) -> Response:
        return picture(desk, request.path_params["digest"], small=True)

    def photo(request: Request) -> Response:
        return picture(desk, request.path_params["digest"], small=False)

    return [
        *(Route("/", page), Route("/album", opened), Route("/queue", queue), Route("/photos", photos)),
        *(Route("/thumbnail/{digest}", thumbnail), Route("/photo/{digest}", photo)),
    ]


def told(desk: Desk) -> list[Route]:
    """What is decided, and where the page was last."""

    async def decide(request: Request) -> Response:
        given = await body(request)
        return JSONResponse(await run_in_threadpool(desk.decide, given["queue"], given.get("decisions", [])))

    async def moved(request: Request) -> Response:
        given = await body(request)
        where = {"queue": given["queue"], "digest": str(given.get("digest", ""))}
        with files.atomic_write(PLACE, durable=False) as draft:
            draft.write_text(json.dumps(where), encoding="utf-8")
        return Response(status_code=204)

    return [Route("/decide", decide, methods=["POST"]), Route("/place", moved, methods=["POST"])]


def picture(desk: Desk, digest: str, small: bool) -> Response:
    """A photo as a JPEG that smallset has made: its own bytes could be anything. A browser may keep it."""
    known = desk.album.photos.get(digest)
    if known is None:
        return PlainTextResponse("no such photo\n", 404)
    content = desk.thumbnails.of(digest, desk.album.path(known)) if small else jpeg(desk.album.path(known), LARGE)
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


async def body(request: Request) -> dict[str, Any]:
    """What the page's script has sent."""
    try:
        given: dict[str, Any] = await request.json()
        rows = given.get("decisions", [])
        if isinstance(given["queue"], str) and all(isinstance(v, str) for row in rows for v in row.values()):
            return given
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise SmallsetError("This is no decision. Load this page again.")


def run(browser: bool) -> None:
    """Serve the page of the pipeline in this folder until Ctrl-C."""
    if not Path("dvc.yaml").is_file():
        raise SmallsetError(f"{Path.cwd()}: expected a pipeline's folder, found no dvc.yaml. Change to one.")
    name = text.project(Path.cwd())
    server.serve(routes(Desk(), name), f"The photos of {text.visible(name)}", browser)
    print("What was decided takes effect with the next dvc repro; git diff corrections.csv shows it.")
