"""`smallset init`: a project of one's own, a git and DVC repository with the photos, the code and a first commit."""

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from smallset.cli import bringing
from smallset.datasets import corrections, filling, folders, scan, splits
from smallset.images import decoding
from smallset.pipeline import files, git, params, progress, text
from smallset.pipeline.errors import SmallsetError

PHOTOS = "photos"
GIVEN = params.Subset(by="given")
DRAWN = params.Subset(by="fraction", train=0.6, validation=0.2, test=0.2)
CONVNETS = ("convnet", "convnet_augmented")
LOOKED_AT = 200  # photos whose sizes are read
STEPS = 63  # of an epoch of the reference pipeline, for which its ema_momentum is
IGNORED = "/data/\n/models/\n/plots/\n/dvc_plots/\n.part.*\n\n.venv/\n__pycache__/\n*.egg-info/\n"

Changes = dict[str, dict[str, object]]  # key of params.yaml to values of its own keys
Document = Any  # as ruamel.yaml reads it
Estimate = Callable[[list[str], pd.DataFrame, params.Params], str]


@dataclass(frozen=True)
class Found:
    """What is known of the user's photos before they are copied."""

    photos: Path
    table: pd.DataFrame  # source, file, label[, split][, group]
    subset: params.Subset  # how the splits come about
    counts: pd.DataFrame  # photos by class (rows) and split (columns), if all decode
    shorter: int  # px, the median of the shorter sides
    notes: list[str]  # what was decided and left out, and what may surprise later

    @property
    def rule(self) -> str:
        """How the splits come about, in words."""
        drawn = "as given" if self.subset.by == "given" else "60, 20 and 20 % in the mean, each photo by its bytes"
        return drawn + (", groups undivided" if "group" in self.table else "")


def estimated(paths: list[str], counts: pd.DataFrame, p: params.Params) -> str:
    """How long the run will take, in words."""
    began = time.process_time()  # of the import, whose files may be on a cold disk now
    from smallset.cli import estimate

    return estimate.estimate(paths, counts, p, time.process_time() - began)


def create(folder: Path, photos: Path, table: Path | None, chapter: bool, estimate: Estimate = estimated) -> str:
    """Make the project `folder`, whole or not at all; return what was found, what was chosen and what comes next.

    estimate: says how long the run will take, of some photos' paths, the counts and the params. The photos are only
    read.
    """
    name, folder, photos = shlex.quote(str(folder)), absolute(folder), absolute(photos)
    table = absolute(table) if table else None
    check_place(folder, photos)
    template = bringing.params(chapter)
    found = look(photos, table, parsed(template).seed)
    text = written(template, fitted(found, chapter))
    p = parsed(text)
    paths = [str(photos / source) for source in found.table["source"]]
    facts = {"found": found, "p": p, "chapter": chapter, "takes": estimate(paths, found.counts, p)}
    with files.atomic_write(folder) as draft:
        found.notes.extend(fill(draft, found, chapter))
        files.write_text(draft / bringing.PARAMS, text)
        files.write_text(draft / "README.md", render("README.md", name=folder.name, **facts))
        begin(draft)
    return render("found.txt", name=name, **facts)


def parsed(text: str) -> params.Params:
    """A params.yaml, checked."""
    return params.parse(YAML(typ="safe", pure=True).load(text))


def absolute(path: Path) -> Path:
    """From the root on; a home folder that no shell has put in, as in --photos=~/birds, is put in."""
    return path.expanduser().absolute()


def check_place(folder: Path, photos: Path) -> None:
    """A new folder that no other repository has, photos that lie elsewhere, and a git that knows who commits."""
    if folder.exists() or folder.is_symlink():
        raise SmallsetError(f"{folder}: exists already. Choose another name.")
    if not folder.parent.is_dir():
        raise SmallsetError(f"{folder.parent}: no such folder. Make it first, or name another one for the project.")
    if not photos.is_dir():
        raise SmallsetError(
            f"{photos}: expected a folder of photos, found {'a file' if photos.exists() else 'nothing'}. "
            f"Name one with --photos; unpack an archive first."
        )
    if folder.parent.resolve().is_relative_to(photos.resolve()):
        raise SmallsetError(f"{photos}: expected a folder of photos alone; {folder} would be in it. Choose another.")
    git.check_identity(folder.parent)
    top = git.repository(folder.parent)
    if top is not None and not git.ignores(top, folder):
        raise SmallsetError(
            f"{folder}: is in the git repository {top}, and a project is a repository of its own. Choose a folder "
            f"outside, or let that one leave it alone: a line with its path in {top / '.gitignore'}."
        )


def look(photos: Path, table: Path | None, seed: int) -> Found:
    """What is in the folder, or in the table about it; SmallsetError for what cannot become a project."""
    own, words = folders.read(photos, table)
    subset = GIVEN if "split" in own else DRAWN
    drawn = divided(own, photos, subset, seed)
    counts = splits.counted(drawn)
    sides, unread = shorter_sides(photos, own)
    notes = [*words, *surprises(counts, unread)]
    if not counts.to_numpy().all():
        notes.append(f"The stage subset will stop: {splits.lacking(counts, drawn, subset, seed)}")
    return Found(photos, own, subset, counts, int(np.median(sides)), notes)


def divided(own: pd.DataFrame, photos: Path, p: params.Subset, seed: int) -> pd.DataFrame:
    """The table with the split of each photo, as the stage subset will draw it if all decode."""
    if p.by == "given":
        return own
    paths = progress.bar(own["source"], what="reading", unit=" photos")
    own = own.assign(digest=[digest(photos / path) for path in paths])
    return own.assign(split=splits.by_fraction(own, p.sizes, seed))


def digest(path: Path) -> str:
    """Of the file's bytes; of one that cannot be read "": copying will say so."""
    try:
        return files.sha256(path)
    except OSError:
        return ""


def shorter_sides(folder: Path, own: pd.DataFrame) -> tuple[list[int], dict[str, str]]:
    """The shorter sides, px, of up to 200 photos spread over all, as headers tell; and why others do not open."""
    rows = np.unique(np.linspace(0, len(own) - 1, LOOKED_AT).astype(int))
    sides, unread = [], {}
    for source in own["source"].iloc[rows]:
        try:
            sides.append(min(decoding.size(folder / source)))
        except SmallsetError as error:
            unread[source] = str(error).removeprefix(f"{folder / source}: ")
    if not sides:
        raise SmallsetError(f"{folder}: no photo opens of {len(rows)} that were looked at: {scan.counted(unread)}.")
    return sides, unread


def surprises(counts: pd.DataFrame, unread: Mapping[str, str]) -> list[str]:
    """What may surprise later."""
    lines = []
    totals = counts.sum(axis=1)
    if totals.max() > 2 * totals.min():
        lines.append(
            f"Unbalanced: {totals.max()} photos of {totals.idxmax()}, {totals.min()} of {totals.idxmin()}. "
            f"Each class counts alike all the same, by class_weights: balanced."
        )
    lines += splits.few(counts)
    if unread:
        lines.append(
            f"Of the photos looked at, not read: {scan.counted(unread)}. The stage subset leaves such photos "
            f"out, and lists them in metrics/subset.json."
        )
    return lines


def fitted(found: Found, chapter: bool) -> Changes:
    """The values that these photos want in place of the template's."""
    changes: Changes = {"subset": found.subset.model_dump()}
    if not chapter:
        return changes
    p = parsed(bringing.params(chapter))
    side = min(p.image.side, max(p.convnet.smallest, found.shorter))
    averages: Changes = {
        name: {"ema_momentum": momentum(getattr(p, name), int(found.counts["train"].sum()))} for name in CONVNETS
    }
    larger = p.larger.side and round(side * p.larger.side / p.image.side)
    sides: Changes = {"image": {"side": side}, "larger": {"side": larger}}
    return changes | averages | sides


def momentum(p: params.Training, photos: int) -> float | None:
    """The ema_momentum for that many training photos: of few, the average would hardly leave the random weights.

    It spans as many epochs as in the reference pipeline, at most as many steps.
    """
    if p.ema_momentum is None:
        return None
    return round(p.ema_momentum ** max(1.0, STEPS * p.batch / max(1, photos)), 2)


def written(text: str, changes: Mapping[str, Mapping[str, object]]) -> str:
    """A params.yaml with these values; its order, comments and numbers stay as they are written."""
    document = yaml().load(text)
    for key, values in changes.items():
        for name, value in values.items():
            document[key][name] = value
    return dumped(document)


def yaml() -> YAML:
    """Reads and writes params.yaml as it is laid out."""
    own = YAML()
    own.width = 4096  # no line is folded
    own.indent(mapping=2, sequence=4, offset=2)
    own.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return own


def dumped(document: Document) -> str:
    """The text of a document that `yaml` has read."""
    stream = StringIO()
    yaml().dump(document, stream)
    return stream.getvalue()


def fill(draft: Path, found: Found, chapter: bool) -> list[str]:
    """Bring smallset's code and the photos into the draft of a project; return what of them could not be read.

    SmallsetError where the disk has no room.
    """
    needed = sum((found.photos / source).stat().st_size for source in found.table["source"])
    free = shutil.disk_usage(draft.parent).free
    if needed > free:
        raise SmallsetError(
            f"{draft.parent}: the photos take {needed / 1e9:.1f} GB, and this disk has {free / 1e9:.1f} GB left. Make "
            f"room, or choose a folder on another disk."
        )
    brought = bringing.code(chapter)
    bringing.write(draft, brought)
    bringing.write_record(draft, bringing.record(brought, chapter))
    files.write_text(draft / ".gitignore", IGNORED)
    corrections.write(draft / corrections.FILE, {})
    (draft / PHOTOS).mkdir()
    return scan.not_read(filling.copy(found.photos, found.table, draft / PHOTOS))


def begin(draft: Path) -> None:
    """Make the folder a git repository and a DVC project, with the photos in DVC and all else in the first commit."""
    git.run(draft, "init", "--quiet", "--initial-branch=main")
    command = [sys.executable, "-m", "dvc", "add", PHOTOS]  # its progress and its errors are on stderr
    done = subprocess.run(command, cwd=draft, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SmallsetError(f"dvc add {PHOTOS} ended with exit code {done.returncode}, as it says above.")
    # All of it, whatever the user's own git leaves out elsewhere: a queued experiment deletes what is not tracked.
    git.run(draft, "-c", "core.excludesFile=", "add", "--all")
    git.run(draft, "commit", "--quiet", "--no-verify", "--message", "Photos and smallset's code")


def render(template: str, **facts: object) -> str:
    """A text about a project, from its template in project/."""
    own = jinja2.Environment(
        loader=jinja2.FileSystemLoader(bringing.source() / "project"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - plain text
        finalize=lambda value: text.visible(value) if type(value) is str else value,
    )
    own.filters["plain"] = text.plain
    return own.get_template(template).render(**facts)
