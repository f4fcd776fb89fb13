"""`smallset init`: create a project, which is a git and DVC repository, from a folder of photos."""

import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import pandas as pd
import typer
from packaging.requirements import Requirement
from PIL import ExifTags, Image

from smallset.cli import console, estimate
from smallset.datasets import folders, groups, scan, splits
from smallset.datasets.dataset import Dataset
from smallset.pipeline import files, git, install, params, progress, stage, text
from smallset.pipeline.errors import SmallsetError
from smallset.reports import rendering

MANY = 1000  # photos; for more, the largest image size takes too long
TEMPLATE, TEXTS = Path(__file__).parents[1] / "project", "smallset.cli"  # other files contain expressions
STAMP = "# Unless you change this file, smallset upgrade replaces it. sha256 of the lines below: "
INSPECTED = 100  # photos that are decoded

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the new project.")]
Photos = Annotated[Path, typer.Option(metavar="FOLDER", help="Your photos, in one folder per class.")]
Table = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="If there are no class folders, the labels: file,label[,split][,group]."),
]
CI = Annotated[
    Literal["github", "gitlab"] | None,
    typer.Option("--ci", help="Also add a workflow that checks pull or merge requests and comments their metrics."),
]
WORKFLOWS = {"github": ".github/workflows/check.yml", "gitlab": ".gitlab-ci.yml"}


File = Annotated[str | None, typer.Option(metavar="NAME", help="The column of the table with the files.")]
Label = Annotated[str | None, typer.Option(metavar="NAME", help="The column with the labels.")]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="The column with train, validation or test.")]
Group = Annotated[
    str | None, typer.Option(metavar="NAME", help="The column whose photos stay in one split, as those of a patient.")
]
SkipMissing = Annotated[bool, typer.Option("--skip-missing", help="Leave out lines of the table without a file.")]
MinPhotos = Annotated[int, typer.Option(min=1, metavar="N", help="Leave out classes with fewer different photos.")]
GroupBursts = Annotated[
    bool,
    typer.Option("--group-bursts", help="Keep photos that a camera took in the same minute in one split."),
]


class Choices(NamedTuple):
    """How the photos and the table are read; labels.csv of the project contains the result."""

    columns: Mapping[str, str] = MappingProxyType({})  # by role: file, label, split, group
    skip_missing: bool = False
    min_photos: int = 1
    group_bursts: bool = False


DEFAULT = Choices()


def init(
    folder: Folder,
    photos: Photos,
    table: Table = None,
    file: File = None,
    label: Label = None,
    split: Split = None,
    group: Group = None,
    skip_missing: SkipMissing = False,
    min_photos: MinPhotos = 1,
    group_bursts: GroupBursts = False,
    ci: CI = None,
) -> None:
    """Create a project from a folder of photos, or from a table with their labels.

    The project is a git and DVC repository with a copy of the photos, a pipeline and its parameters, in a first commit.
    The command prints what it found, how the photos are split, and how long the run will take. It changes no photo.
    """
    names = {"file": file, "label": label, "split": split, "group": group}
    columns = {role: name for role, name in names.items() if name is not None}
    if columns and table is None:
        raise SmallsetError(f"--{', --'.join(columns)}: expected a table with these columns. Name it: --table CSV")
    choices = Choices(columns, skip_missing, min_photos, group_bursts)
    print(text.lines(create(folder, photos, table, choices, ci)), end="")


def create(folder: Path, photos: Path, table: Path | None, choices: Choices = DEFAULT, ci: str | None = None) -> str:
    """Create the project `folder` completely or not at all; return a summary with the next steps."""
    name = shlex.quote(str(folder))
    folder, photos = (path.expanduser().absolute() for path in (folder, photos))  # the shell leaves ~ in --photos=~/a
    table = table.expanduser().absolute() if table else None
    _check_folders(folder, photos)
    console.print_notes([f"Reading {photos}"])
    scanned = scan.scan(photos)
    sources = _replace_bytes(scanned.photos)
    renamed = replace(scanned, photos=[*sources])
    dataset, notes = folders.read_folder(renamed, table, choices.columns, choices.skip_missing)
    with files.atomic_write(folder) as draft:
        paths = {file: photos / path for file, path in sources.items()}
        dataset, unreadable, more = _choose(dataset, paths, choices)
        notes += more
        _copy_photos(dataset, paths, draft)
        dataset = replace(dataset, root=draft / "photos")
        texts = template(_copy_labels(table, dataset, draft), has_splits="" not in set(dataset.table["split"]))
        if len(dataset) > MANY:
            texts["params.yaml"] = texts["params.yaml"].replace("[224, 288, 384]", "[224, 288]")
        facts = _inspect(dataset, params.parse(stage.parse_yaml(texts["params.yaml"])))
        facts["notes"] = [*notes, *scan.describe_unreadable(unreadable), *facts["notes"]]
        texts["README.md"] = rendering.render(TEXTS, "README.md", name=folder.name, **facts)
        if ci:
            texts[WORKFLOWS[ci]] = (Path(__file__).parent / f"templates/ci/{ci}.yml").read_text(encoding="utf-8")
        for path, content in texts.items():
            files.write_text(draft / path, content)
        _commit(draft)
    return rendering.render(TEXTS, "summary.txt", name=name, **facts)


def template(table: str | None, has_splits: bool = False) -> dict[str, str]:
    """The files of a project by their paths; in the template, `dot_` stands for the dot of a hidden file.

    table: The table of labels in the project. has_splits: Whether the folders or the table contain the splits.
    """
    paths = [path for path in sorted(TEMPLATE.rglob("*")) if path.is_file()]
    texts = {path.relative_to(TEMPLATE).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    texts = {re.sub(r"(?<![^/])dot_", ".", path): content for path, content in texts.items()}
    values = {"smallset": metadata.version("smallset"), "table": json.dumps(table)}
    values |= {"by": "given", "train": "null", "validation": "null", "test": "null"} if has_splits else {}
    for key, value in values.items():
        texts["params.yaml"] = re.sub(rf"(?m)^( *){key}: \S+", rf"\1{key}: {value}", texts["params.yaml"])
    if table and not table.startswith("photos/"):
        texts["dvc.yaml"] = texts["dvc.yaml"].replace(
            "[photos, corrections", f"[photos, {json.dumps(table)}, corrections"
        )
    return {**texts, "dvc.yaml": stamp(texts["dvc.yaml"]), "requirements.txt": pin_requirements()}


def stamp(graph: str) -> str:
    """The text of dvc.yaml below a line by which `smallset upgrade` sees whether somebody has changed it."""
    return f"{STAMP}{hashlib.sha256(graph.encode()).hexdigest()}\n{graph}"


def pin_requirements() -> str:
    """The text of requirements.txt: the installed versions of smallset and of all packages that it needs."""
    pins, visited, waiting = dict[str, str](), set[str](), [Requirement("smallset")]
    while waiting:
        package = waiting.pop()
        extras = [{"extra": extra} for extra in ("", *package.extras)]
        with suppress(metadata.PackageNotFoundError):  # this environment works without it
            facts = metadata.metadata(package.name)
            pins[re.sub(r"[-_.]+", "-", package.name).lower()] = facts["Version"]
            for needed in map(Requirement, facts.get_all("Requires-Dist") or []):
                if str(needed) not in visited and (not needed.marker or any(map(needed.marker.evaluate, extras))):
                    visited.add(str(needed))
                    waiting.append(needed)
    del pins["smallset"]
    head = "# The packages that this project was created with. Install them: pip install -r requirements.txt\n"
    return head + _name_source() + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins))


def _check_folders(folder: Path, photos: Path) -> None:
    """SmallsetError unless `folder` is new and in no repository, the photos are elsewhere, and git knows the user."""
    if folder.exists() or folder.is_symlink():
        raise SmallsetError(f"{folder}: exists already. Choose another name.")
    if not folder.parent.is_dir():
        raise SmallsetError(f"{folder.parent}: no such folder. Create it first, or name another one for the project.")
    if not photos.is_dir():
        kind = "a file" if photos.exists() else "nothing"
        raise SmallsetError(
            f"{photos}: expected a folder of photos, found {kind}. If it is an archive, unpack it first."
        )
    if folder.parent.resolve().is_relative_to(photos.resolve()):
        raise SmallsetError(f"{photos}: expected only photos, but {folder} would be inside. Choose another folder.")
    git.check_identity(folder.parent)
    if (repository := git.find_repository(folder.parent)) and not git.is_ignored(repository, folder):
        problem = f"{folder}: is in the git repository {repository}, and a project is a repository itself"
        raise SmallsetError(f"{problem}. Choose a folder outside, or add its path to {repository / '.gitignore'}.")


def _replace_bytes(paths: Sequence[str]) -> dict[str, str]:
    """Each path by its name in the project, in which bytes that are not UTF-8 are replaced."""
    names: dict[str, str] = {}
    for path in paths:
        name = PurePosixPath(os.fsencode(path).decode("utf-8", "replace"))
        endings = ("_" * number + name.suffix for number in itertools.count())
        copies = (str(name.with_name(files.fit_name(name.stem, ending))) for ending in endings)
        names[next(copy for copy in copies if copy not in names)] = path
    return names


def _choose(
    dataset: Dataset, sources: Mapping[str, Path], choices: Choices
) -> tuple[Dataset, dict[str, str], list[str]]:
    """Add the sha256 of the photos, and bursts as groups; leave out rare classes.

    Also return why photos cannot be read, as on a disk with bad blocks, and notes.
    """
    digests, errors = dict[str, str](), dict[str, str]()
    for file in progress.bar(dataset.table["file"], what="reading", unit=" photos"):
        try:
            digests[file] = files.sha256(sources[file])
        except OSError as error:
            errors[file] = f"cannot be read: {scan.os_reason(error)}"
    table = dataset.table.assign(sha256=dataset.table["file"].map(digests)).dropna(subset="sha256")
    different = table.drop_duplicates(["sha256", "label"])
    notes = []
    if copies := len(table) - len(different):
        notes.append(f"Copies: {text.counted(copies, 'file')} with the same bytes as another one do not count again.")
    counts = different["label"].value_counts()
    rare = sorted(counts.index[counts < choices.min_photos])
    if rare:
        listed = scan.some([f"{label} ({counts[label]})" for label in rare], 20)
        notes.append(f"Left out, because they have fewer than {choices.min_photos} different photos: {listed}.")
        table = table[~table["label"].isin(rare)]
    if table["label"].nunique() < 2:
        problem = f"expected at least two classes with {text.counted(choices.min_photos, 'photo')}"
        raise SmallsetError(f"--min-photos: {problem}; found {table['label'].nunique()}. Lower it.")
    if not table["group"].any() and not table["split"].any():
        table, note = _group_bursts(table, sources, choices.group_bursts)
        notes += note
    table = table.reset_index(drop=True).astype({"sha256": object})
    return replace(dataset, table=table, classes=tuple(sorted({*table["label"]}))), errors, notes


def _group_bursts(table: pd.DataFrame, sources: Mapping[str, Path], wanted: bool) -> tuple[pd.DataFrame, list[str]]:
    """The table with bursts as groups if that is wanted, and a note about them."""
    bursts = groups.find_bursts({file: sources[file] for file in table["file"]})
    if not bursts:
        return table, []
    count = f"{text.counted(len(bursts), 'photo')} of {text.counted(len({*bursts.values()}), 'burst')}"
    rule = "one camera in the same minute, or names as IMG_0001_0, IMG_0001_1"
    if wanted:
        note = f"Groups: {count} ({rule}). labels.csv lists them; add a line for each new photo."
        return table.assign(group=table["file"].map(bursts).fillna("").astype(object)), [note]
    risk = "Those in two splits make the test too easy"
    return table, [f"Bursts: {count} ({rule}) are split one by one. {risk}: smallset init --group-bursts."]


def _copy_photos(dataset: Dataset, sources: Mapping[str, Path], draft: Path) -> None:
    """Copy the photos to the project."""
    paths = {file: sources[file] for file in dataset.table["file"]}
    needed, free = sum(path.stat().st_size for path in paths.values()), shutil.disk_usage(draft.parent).free
    if needed > free:
        sizes = f"the photos need {needed / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB left"
        raise SmallsetError(f"{draft.parent}: {sizes}. Free some space, or choose a folder on another disk.")
    console.print_notes([f"Copying {text.counted(len(paths), 'photo')}"])
    for file, path in progress.bar(paths.items(), what="copying", unit=" photos"):
        target = draft / "photos" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        files.copy(path, target)


def _copy_labels(table: Path | None, dataset: Dataset, draft: Path) -> str | None:
    """Copy the table of labels into the project, and return its name; None when the folders are enough.

    When the copied photos cannot be read in the same way, as with a table among the photos, it writes a new table.
    """
    name, columns = f"labels{table.suffix}" if table else None, ["file", "label", "split", "group"]
    if table:
        shutil.copyfile(table, draft / f"labels{table.suffix}")
    with suppress(SmallsetError):
        again, _ = folders.read_folder(dataset.root, draft / name if name else None)
        if again.table[columns].equals(dataset.table[columns]):
            return name
    files.remove(draft / (name or "labels.csv"))
    files.write_csv(draft / "labels.csv", dataset.table[[column for column in columns if dataset.table[column].any()]])
    return "labels.csv"


def _inspect(dataset: Dataset, p: params.Params) -> dict[str, Any]:
    """What README.md and the summary say about the photos; SmallsetError when none decodes."""
    merged, _ = groups.merge(dataset.table["sha256"], dataset.table["group"])
    table = dataset.table.assign(group=merged).drop_duplicates(["sha256", "label"], ignore_index=True)
    different = replace(dataset, table=table)
    stops: list[str] = []
    try:
        groups.check_given(dataset.table, "sha256")
        different, _ = splits.assign_splits(different, p.split, p.seed)
        splits.check_complete(different, p.split, p.seed, "photos")
    except SmallsetError as error:
        stops.append(str(error))
    counts = splits.count_photos(different.table).reindex(dataset.classes, fill_value=0)
    seconds, sides, errors = estimate.decode(dataset.take(dataset.spread(INSPECTED)))
    if not sides:
        raise SmallsetError(f"No photo of {len(errors)} decodes: {scan.count_reasons(errors)}.")
    rule = "as the folders or the table say" if p.split.by == "given" else "60/20/20 % on average, by their content"
    return {
        "counts": counts,
        "notes": [*_find_surprises(counts, errors), *_find_positions(dataset.paths)],
        "stops": stops,
        "rule": rule + (", groups undivided" if dataset.table["group"].any() else ""),
        "takes": estimate.estimate(seconds, sides, dict(zip(counts.columns, counts.sum(), strict=True)), p),
        "backbone": p.features.backbone,
        "table": p.split.table,
    }


def _find_surprises(counts: pd.DataFrame, errors: Mapping[str, str]) -> Iterator[str]:
    totals = counts.sum(axis=1)
    if totals.max() > 2 * totals.min():
        unbalanced = f"{totals.max()} photos of {totals.idxmax()}, {totals.min()} of {totals.idxmin()}"
        weights = "In training, all classes have the same weight. See class_prior in params.yaml"
        yield f"Unbalanced: {unbalanced}. {weights}."
    yield from splits.warn_about_few(counts)
    if errors:
        yield f"Some photos do not decode; the stage split leaves out all such photos: {scan.count_reasons(errors)}."


def _find_positions(paths: Sequence[Path]) -> Iterator[str]:
    """A note about photos whose Exif says where they were taken. Only headers are read, 0.2 ms per JPEG."""
    count = 0
    for path in progress.bar(paths, what="reading positions", unit=" photos"):
        with suppress(Exception), Image.open(path) as image:  # Pillow raises many types for broken metadata
            exif = Image.Image.getexif(image)  # that of a PNG would decode the pixels
            count += ExifTags.GPS.GPSLatitude in exif.get_ifd(ExifTags.IFD.GPSInfo)
    if count:
        yield f"GPS positions: the Exif of {text.counted(count, 'photo')} of {len(paths):,} says where it was taken."
        remedy = "create the project from a copy of the photos after: exiftool -r -overwrite_original -gps:all= COPY"
        yield f"The project shares positions unchanged. To remove them, {remedy}"


def _commit(draft: Path) -> None:
    """Make the folder a git repository and a DVC project: DVC tracks the photos, and git all other files."""
    git.run(draft, "init", "--quiet", "--initial-branch=main")
    git.add_hook(draft)
    console.print_notes(["Adding the photos to DVC"])
    # `dvc add` copies the photos into its cache. With links to the cache they need their space only once.
    for command in (["add", "photos"], ["checkout", "--relink", "photos.dvc"]):
        dvc = [sys.executable, "-m", "dvc", *command]  # its progress and its errors are on stderr
        if code := subprocess.run(dvc, cwd=draft, stdout=subprocess.DEVNULL, check=False).returncode:
            raise SmallsetError(f"dvc {' '.join(command)} failed with exit code {code}; its message is above.")
    # With an empty excludesFile: queued experiments delete what the user's own git would ignore.
    git.run(draft, "-c", "core.excludesFile=", "add", "--all")
    git.run(draft, "commit", "--quiet", "--no-verify", "--message", "Photos and pipeline")


def _name_source() -> str:
    """The line by which pip installs this smallset; without a path of this machine."""
    url = install.source()
    if url and not url.startswith("file:"):
        return f"smallset @ {url}\n"
    comment = "# Installed from a local folder or file. If pip does not find it: smallset @ git+https://..."
    return f"{comment}\n" * bool(url) + f"smallset=={metadata.version('smallset')}\n"
