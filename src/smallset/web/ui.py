"""The whole workflow on one page for this machine, with the commands, files and git history of a terminal.

The current folder is the project. Without one, it is a folder in which photos wait until the project is created.
"""

import asyncio
import filecmp
import functools
import io
import json
import os
import re
import shlex
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import Receive, Scope, Send

from smallset.datasets import names
from smallset.evaluation import comparison, diff
from smallset.pipeline import files, git, params, stage, text
from smallset.pipeline.errors import SmallsetError
from smallset.reports import rendering
from smallset.reports.results import Results
from smallset.web import jobs, review, server, uploads

NEW = "new-"  # before the name of a project, the name of the folder where its photos wait
GRAPH, METRICS, REPORT, EXPORTS = Path("dvc.yaml"), Path("metrics"), Path("plots/report.html"), Path("data/exports")
SUFFIXES = {"web": "_web", "onnx": ".onnx", "litert": ".tflite"}  # of exported files, by format
MINUTES = re.compile(r"(?m)(^fine_tune:.*\n(?:[ #].*\n)*? +minutes: *)([\d.]+)")  # the time budget in params.yaml
FIRST_RUN = re.compile(r"dvc repro +# (.*) on the machine")  # the estimate in README.md
# The report has its style and its pictures in itself, and no script.
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
INTERVAL = 1.0  # s between two looks at the project
LOCK = threading.Lock()  # for opening a project after it was created
OPENING = threading.Lock()  # for opening a page: a model is loaded once


def open_folder(folder: Path) -> None:
    """Change to the project in `folder`, or to the place where the photos of a new one wait."""
    if not (folder / GRAPH).is_file():
        folder = folder / f"{NEW}my-photos" if folder.is_dir() else folder.with_name(f"{NEW}{folder.name}")
        folder.mkdir(exist_ok=True)
    os.chdir(folder)


def describe() -> dict[str, Any]:
    """All that windows show."""
    with LOCK:
        job = jobs.describe()
        if job and job["result"] == "done" and not GRAPH.is_file():
            _open_created(Path(shlex.split(job["command"])[2]))
    takes, budget = FIRST_RUN.search(_read(Path("README.md"))), MINUTES.search(_read(uploads.PARAMS))
    return {
        "project": text.visible(Path.cwd().name) if GRAPH.is_file() else "",
        "folder": text.visible(str(Path.cwd())),
        "name": Path.cwd().name.removeprefix(NEW),
        "classes": [*uploads.count_photos().items()],
        "job": job,
        "takes": takes[1] if takes else "",
        "minutes": float(budget[2]) if budget else None,
        "history": Results(Path()).table("fine_tuned/history").to_dict("records"),
        "results": _read_results(review.stat(METRICS / "compare.csv")),
        "exports": sorted(path.name for path in EXPORTS.glob("[!.]*")),
    }


def _open_created(project: Path) -> None:
    """Continue in a project that was created; remove the folder where its photos waited, if it has all of them."""
    waiting, photos = Path.cwd(), uploads.list_photos()
    is_complete = all((project / path).is_file() and filecmp.cmp(path, project / path, False) for path in photos)
    (project / jobs.FOLDER.parent).mkdir(exist_ok=True)
    jobs.FOLDER.rename(project / jobs.FOLDER)
    os.chdir(project)
    if is_complete:
        files.remove(waiting)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@functools.lru_cache(1)
def _read_results(_: tuple[Any, ...]) -> str | None:
    """Which model to use and how good it is; None before the first run."""
    run = Results(Path())
    if run.table("compare").empty:
        return None
    return " ".join(comparison.describe_choice(run.models, run.table("model_pairs"))[:2])


def add_class(name: str) -> None:
    """Create the folder of a class."""
    (uploads.PHOTOS / uploads.check_path(f"{name}/photo").parts[0]).mkdir(parents=True, exist_ok=True)


def create(name: str) -> None:
    """Start smallset init with the photos that wait here."""
    if not names.is_usable_label(name):
        raise SmallsetError("Expected a name for the project that can be the name of a folder.")
    jobs.start("smallset", "init", f"../{name}", "--photos", "photos")


def set_minutes(minutes: str) -> None:
    """Write the time budget of fine-tuning to params.yaml."""
    content = MINUTES.sub(rf"\g<1>{minutes}", _read(uploads.PARAMS))
    params.parse(stage.parse_yaml(content))  # refuses what is no time
    files.write_text(uploads.PARAMS, content)


def export(name: str) -> None:
    """Start smallset export of the best model, unless there is a file of this model in this format already."""
    if name not in SUFFIXES:
        raise SmallsetError(f"{name}: unknown format. Reload the page.")
    model = Path(f"models/{Results(Path()).best}.keras")
    target = EXPORTS / f"{model.stem}-{files.sha256(model)[:8]}{SUFFIXES[name]}"
    if not target.exists():
        EXPORTS.mkdir(parents=True, exist_ok=True)
        jobs.start("smallset", "export", str(model), "--format", name, "--output", str(target))


def list_runs() -> dict[str, Any]:
    """The commits that changed results, the newest first; and what has changed since the last commit."""
    log = git.run(Path(), "log", "--max-count=30", "--format=%h%x09%as%x09%s", "--", "metrics").decode(errors="replace")
    runs = []
    for revision, date, subject in (line.split("\t", 2) for line in log.splitlines()):
        if table := git.show(METRICS / "compare.csv", revision):
            changes = json.loads(git.show(METRICS / diff.FILE, revision) or json.dumps(diff.EMPTY))
            run = {"revision": revision, "date": date, "subject": subject, "result": _describe_best(table)}
            runs.append({**run, "changes": [*changes["photos"], *changes["labels"]]})
    changed = git.run(Path(), "status", "--short").decode(errors="replace").splitlines()
    table = diff.read_file(METRICS / "compare.csv")
    return {"runs": runs, "changed": changed, "message": _describe_best(table) if table else "Photos"}


def _describe_best(table: str) -> str:
    """The accuracy of the best model in the text of a compare.csv."""
    models = comparison.read_table(io.StringIO(table))
    best = models[models["model"] == comparison.select_model(models)].iloc[0]
    interval = f"95 % interval {best['low']:.3f}–{best['high']:.3f}"
    return f"{best['model']}: accuracy {best['accuracy']:.3f} on {int(best['n']):,} test photos, {interval}"


def keep_run(message: str) -> None:
    """Commit all changes of the project."""
    jobs.check_idle()
    if not git.run(Path(), "status", "--porcelain"):
        raise SmallsetError("Nothing has changed since the last commit.")
    git.run(Path(), "add", "--all")
    git.run(Path(), "commit", "--quiet", "--message", message or "Results")


def download(request: Request) -> Response:
    """An exported model; a folder as a zip."""
    path = EXPORTS / request.path_params["name"]
    if path.name not in {entry.name for entry in EXPORTS.glob("[!.]*")}:
        return PlainTextResponse("no such file\n", 404)
    if path.is_file():
        return FileResponse(path, filename=path.name)
    folder = tempfile.mkdtemp()
    archive = shutil.make_archive(f"{folder}/{path.name}", "zip", path.parent, path.name)
    return FileResponse(archive, filename=Path(archive).name, background=BackgroundTask(shutil.rmtree, folder))


@functools.lru_cache(1)
def _open_review(project: Path) -> Router:
    return Router(review.make_routes(review.Review(), text.project(project), "Review"))


@functools.lru_cache(1)
def _open_demo(model: Path, _: tuple[Any, ...]) -> Router:
    from smallset.models.classifier import Classifier  # imports TensorFlow, as the next line does
    from smallset.web import demo

    return Router(demo.make_routes(model.stem, Classifier.load(model), "Try"))


def _open_page(path: str) -> Router:
    """The routes of another page, which are not known before the project has results."""
    with OPENING:
        if path == "/review":
            return _open_review(Path.cwd())
        model = Path(f"models/{Results(Path()).best}.keras").absolute()
        return _open_demo(model, review.stat(model))


def mount(path: str) -> Mount:
    """The review page or the page to try a model."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (await run_in_threadpool(_open_page, path))(scope, receive, send)

    return Mount(path, app)


def act(path: str, function: Callable[..., object], *keys: str) -> Route:
    """A route that calls a function with texts of the request's JSON, and answers with what it returns."""

    async def answer(request: Request) -> Response:
        try:
            body = await request.json()
            values = [body[key] + "" for key in keys]
        except (ValueError, KeyError, TypeError):
            raise SmallsetError(f"Expected JSON with the texts {', '.join(keys)}. Reload the page.") from None
        return JSONResponse(await run_in_threadpool(function, *values))

    return Route(path, answer, methods=["POST"])


async def follow(request: Request) -> AsyncIterator[str]:
    """What windows show as server-sent events, one for each change."""
    last = ""
    while not (await request.is_disconnected() or request.state.server.should_exit):
        content = json.dumps(await run_in_threadpool(describe))
        if content != last:
            yield f"data: {content}\n\n"
        last = content
        await asyncio.sleep(INTERVAL)


def make_routes() -> list[BaseRoute]:
    """The page, and what its script requests."""
    page = rendering.render("smallset.web", "ui.html", tab="Photos")
    report_headers = {"Content-Security-Policy": REPORT_POLICY}
    return [
        Route("/", lambda _: HTMLResponse(page)),
        Route("/events", lambda request: StreamingResponse(follow(request), media_type="text/event-stream")),
        Route("/upload", uploads.upload, methods=["POST"]),
        act("/class", add_class, "name"),
        act("/recording", uploads.name_recording, "name"),
        act("/create", create, "name"),
        act("/train", lambda: jobs.start("dvc", "repro")),
        act("/cancel", jobs.cancel),
        act("/minutes", set_minutes, "minutes"),
        act("/export", export, "format"),
        act("/keep", keep_run, "message"),
        act("/diff", lambda revision: text.lines(diff.against(METRICS, revision)), "revision"),
        act("/runs", list_runs),
        Route("/exports/{name}", download),
        Route("/report", lambda _: HTMLResponse(_read(REPORT), headers=report_headers)),
        mount("/review"),
        mount("/try"),
    ]


def run(folder: Path, browser: bool) -> None:
    """Serve the page of a project, or of a new one, until Ctrl-C."""
    open_folder(folder.expanduser().absolute())
    server.serve(make_routes(), "smallset", browser)
    if not GRAPH.is_file() and not uploads.list_photos():
        files.remove(Path.cwd())
