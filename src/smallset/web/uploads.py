"""Photos that arrive on a page: checked, and stored in photos/ below their class without replacing any file."""

import filecmp
import itertools
import os
import re
import tempfile
import threading
import unicodedata
from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from smallset.datasets import names, scan, splits
from smallset.images import decoding
from smallset.pipeline import params, text
from smallset.pipeline.errors import SmallsetError
from smallset.web import jobs, server

PHOTOS, PARAMS = Path("photos"), Path("params.yaml")
TABLE = re.compile(r"(?m)^ +table: *(?!null)([^\s#]+)")  # the table of labels in params.yaml
RECORDING = "recording "  # the folder of a recording inside of its class, with a number; it is a group
CANDIDATES = 300  # numbers for a recording; each split has one among these
MAX_BYTES = 500_000_000  # of a file
LOCK = threading.Lock()  # for names that are free


async def upload(request: Request) -> Response:
    """Store the body as the photo `path`; answer 422 with the reason when it is no photo."""
    jobs.FOLDER.mkdir(parents=True, exist_ok=True)
    path = PurePosixPath(request.query_params.get("path", ""))
    with tempfile.TemporaryDirectory(dir=jobs.FOLDER) as folder:
        draft = Path(folder, f"photo{path.suffix}")  # the decoder knows RAW files by their ending
        try:
            target = check_path(str(path))
            with draft.open("wb") as file:
                await server.save_body(request, file, MAX_BYTES)
            return JSONResponse({"file": await run_in_threadpool(store, draft, target)})
        except SmallsetError as error:
            return PlainTextResponse(text.lines(str(error).removeprefix(f"{draft}: ")), 422)


def check_path(path: str) -> PurePosixPath:
    """The path of a photo below PHOTOS, its class first; SmallsetError for names that some system does not allow."""
    if PARAMS.is_file() and (table := TABLE.search(PARAMS.read_text(encoding="utf-8"))):
        raise SmallsetError(
            f"the labels are in {table[1]}: add photos in a terminal, with a line for each in this table"
        )
    parts = [unicodedata.normalize("NFC", part) for part in path.split("/")]
    if len(parts) < 2:
        raise SmallsetError("is in no class folder")
    for part in parts:
        if scan.is_hidden(part):
            raise SmallsetError(scan.HIDDEN)
        if not names.is_usable_label(part):
            raise SmallsetError(f"{text.visible(part)[:80]}: not every system allows this name. Rename it.")
    existing = {names.normalize(folder.name): folder.name for folder in PHOTOS.glob("*/")}  # equal on some systems
    return PurePosixPath(existing.get(names.normalize(parts[0]), parts[0]), *parts[1:])


def store(draft: Path, path: PurePosixPath) -> str:
    """Move a photo that decodes to a free name in PHOTOS; return its path, or "" when it is there already."""
    decoding.decode(draft)
    with LOCK:
        target = PHOTOS / path
        for number in itertools.count(2):
            if not target.exists():
                break
            if filecmp.cmp(target, draft, shallow=False):
                return ""
            target = PHOTOS / path.with_stem(f"{path.stem}-{number}")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(target)
    return target.as_posix()


def name_recording(label: str) -> str:
    """A new folder for a recording of a class. A recording is a group, which is never divided among the splits.

    The split of a group depends on its name. The number is the next one that brings the recordings of the class
    to the split that lacks them most: of three, one is for training, one for validation and one for testing.
    """
    label = check_path(f"{label}/photo").parts[0]
    p = params.read(PARAMS) if PARAMS.is_file() else params.new_project()
    if p.split.by != "fraction":
        raise SmallsetError("params.yaml: a recording needs `by: fraction` in `split`. Add photos as files instead.")
    existing = sorted(path.name for path in (PHOTOS / label).glob(f"{RECORDING}*/"))
    numbers = [f"{RECORDING}{number}" for number in range(1, CANDIDATES) if f"{RECORDING}{number}" not in existing]
    groups = pd.DataFrame({"group": [f"{label}/{name}" for name in [*existing, *numbers]], "sha256": ""})
    drawn = splits.draw_splits(groups, p.split.shares, p.seed)
    counts = Counter(drawn[: len(existing)])
    missing = {split: share * (len(existing) + 1) - counts[split] for split, share in p.split.shares.items()}
    wanted = max(missing, key=lambda split: (counts[split] == 0, missing[split]))
    folder = next(iter(groups["group"][len(existing) :][drawn == wanted]))
    (PHOTOS / folder).mkdir(parents=True)  # the next recording may begin before the first picture has arrived
    return str(folder)


def list_photos() -> list[Path]:
    """The files in PHOTOS, except hidden ones."""
    return [Path(folder, name) for folder, _, below in os.walk(PHOTOS) for name in below if not scan.is_hidden(name)]


def count_photos() -> dict[str, tuple[int, int]]:
    """The folders of PHOTOS with the numbers of files and of recordings in each."""
    photos = Counter(path.parts[1] for path in list_photos())
    recordings = Counter(path.parts[1] for path in PHOTOS.glob(f"*/{RECORDING}*/"))
    labels = sorted(path.name for path in PHOTOS.glob("*/") if not scan.is_hidden(path.name))
    return {label: (photos[label], recordings[label]) for label in labels}
