"""`smallset upgrade`: move a project to the installed version of smallset; git shows every change, and undoes it."""

import json
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from smallset.cli import init
from smallset.pipeline import files, git, params, text
from smallset.pipeline.errors import SmallsetError

PARAMS, GRAPH, REQUIREMENTS, INDEX = "params.yaml", "dvc.yaml", "requirements.txt", "photos/photos.csv"
RECORD = ".smallset.json"  # version 0.2.0 kept the digests of the files there that it copied into a project

# The sections and keys of params.yaml in 0.2.0, and their names now; other keys have the same name or are gone.
SECTIONS = {"base": "features", "subset": "split", "audit": "issues", "larger": "features", "linear": "linear_probe"}
SECTIONS |= {"pooled": "fine_tune", "pooled.augmentation": "augmentation"}
KEYS = {"name": "backbone", "side": "image_sizes", "class_weights": "class_weight"}
KEYS |= {"depth": "trainable", "batch": "batch_size"}
MOVED = {"larger.mirror", "base.cut"}  # `_migrate` gives them to augmentation.flip and fine_tune.trainable
TRAINABLE = {None: "auto", "top": "last_block", "whole": "all"}

PARSER = YAML()  # keeps comments
PARSER.width = 4096  # no line is folded
PARSER.indent(mapping=2, sequence=4, offset=2)
PARSER.representer.add_representer(
    type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="A project.")]


def upgrade(folder: Folder = Path()) -> None:
    """Move a project to the installed version of smallset.

    Your values in params.yaml stay, new parameters come with their comments, and dvc.yaml is replaced unless you have
    changed it. A project of version 0.2.0 loses its copy of smallset's code. Nothing is committed: see git diff.
    """
    print(text.lines("\n".join(upgrade_project(folder))))


def upgrade_project(folder: Path) -> list[str]:
    """Upgrade the project; return what has changed and what is left to do, a line each."""
    if missing := [name for name in (GRAPH, PARAMS) if not (folder / name).is_file()]:
        raise SmallsetError(
            f"{folder}: expected a project, found no {' and no '.join(missing)}. Name the folder of one."
        )
    status = ("status", "--porcelain", "--untracked-files=no")
    if changed := git.run(folder, *status).decode(errors="replace"):
        raise SmallsetError(f"{folder}: expected a project without changes, found\n{changed}Commit them first.")
    old = params.load(folder / PARAMS)
    template = init.template(old.get("split", {}).get("table"))
    notes = [*(_migrate(folder, template, old) if (folder / RECORD).is_file() else _update_params(folder, template))]
    notes += _update_files(folder, template)
    if not notes and not git.run(folder, *status):
        return [f"{folder}: up to date"]
    version = old.get("smallset", "0.2.0")
    return [f"{folder}: smallset {version} to {metadata.version('smallset')}", *notes, "See git diff, then: dvc repro"]


def _update_params(folder: Path, template: Mapping[str, str]) -> Iterator[str]:
    """Set the version, add new keys with their comments, and remove those that are gone; all other lines stay."""
    current, new = PARSER.load(folder / PARAMS), PARSER.load(template[PARAMS])
    notes = [*_reconcile(current, new, "")]
    if notes or current["smallset"] != new["smallset"]:
        current["smallset"] = new["smallset"]
        with files.atomic_write(folder / PARAMS) as draft:
            PARSER.dump(current, draft)
    yield from (f"{PARAMS}: {note}" for note in notes)


def _reconcile(current: CommentedMap, new: CommentedMap, parents: str) -> Iterator[str]:
    """Give a mapping exactly the keys of another one; values of keys that both have stay."""
    for key in [key for key in current if key not in new]:
        yield f"{parents}{key} is gone (it was {current.pop(key)!r})"
    for position, (key, value) in enumerate(new.items()):
        if key not in current:
            yield f"{parents}{key} is new ({value!r})"
            current.insert(position, key, value)
            if key in new.ca.items:
                current.ca.items[key] = new.ca.items[key]
        elif isinstance(value, CommentedMap) and isinstance(current[key], CommentedMap):
            yield from _reconcile(current[key], value, f"{parents}{key}.")


def _update_files(folder: Path, template: Mapping[str, str]) -> Iterator[str]:
    """Write the files of the template that are new, or that replace those of the project."""
    for path, content in template.items():
        place = folder / path
        current = place.read_text(encoding="utf-8") if place.is_file() else None
        new = _merge_requirements(current, content) if path == REQUIREMENTS and current is not None else content
        if current == new or path == PARAMS:
            continue
        if path == GRAPH and current is not None and current != init.stamp(current.partition("\n")[2]):
            files.write_text(folder / f"{GRAPH}.new", new)
            yield f"{GRAPH}: you have changed it, so it stays. Move your changes to {GRAPH}.new, then rename that file"
        elif current is None or path in (GRAPH, REQUIREMENTS) or path.startswith(".dvc/plots/"):
            files.write_text(place, new)
            yield f"{path}: is {'new' if current is None else 'replaced'}"


def _merge_requirements(current: str, new: str) -> str:
    names = {line: re.split(r"[^\w.-]", line)[0].lower() for line in [*current.splitlines(), *new.splitlines()]}
    pinned = {names[line] for line in new.splitlines()}
    return new + "".join(f"{line}\n" for line in current.splitlines() if names[line] not in pinned)


def _migrate(folder: Path, template: Mapping[str, str], old: Mapping[str, Any]) -> Iterator[str]:
    """Turn a project of version 0.2.0 into one of this version; photos, splits and corrections stay."""
    document = PARSER.load(template[PARAMS])
    unused = _convert_params(document, old)
    if not old.get("larger", {}).get("mirror", True):
        document["augmentation"]["flip"] = "none"
    if (layer := old["base"].get("cut")) and document["fine_tune"]["trainable"] != "all":
        document["fine_tune"]["trainable"] = layer  # both name the last frozen layer
    if (folder / INDEX).is_file():
        document["split"]["table"] = INDEX
    with files.atomic_write(folder / PARAMS) as draft:
        PARSER.dump(document, draft)
    yield f"{PARAMS}: your values have their new names. Not used any more: {', '.join(unused)}"
    for path, digest in json.loads((folder / RECORD).read_text(encoding="utf-8"))["digests"].items():
        place = folder / path
        if place.is_file() and files.sha256(place) == digest:
            files.write_text(place, template[path]) if path in template else place.unlink()
        elif place.is_file() and path not in template:
            yield f"{path}: you have changed it, so it stays, but nothing uses it any more"
    results = git.run(folder, "ls-files", "-z", "metrics").decode(errors="surrogateescape").split("\0")[:-1]
    for path in [RECORD, "dvc.lock", *results]:
        files.remove(folder / path)
    for name in ("src", "stages", "metrics"):
        if all(path.is_dir() or path.parent.name == "__pycache__" for path in (folder / name).rglob("*")):
            files.remove(folder / name)
    yield "src/, stages/: smallset's code is removed, because the stages run the installed version"
    yield "metrics/, dvc.lock: the results of 0.2.0 are removed; git has them, and DVC's cache has their models"
    yield "README.md: still describes 0.2.0, because you may have changed it"


def _convert_params(new: CommentedMap, old: Mapping[str, Any], section: str = "") -> list[str]:
    """Set the values of a params.yaml of 0.2.0, or of a section of it, in a new one; return the keys that are gone."""
    unused, target = [], new[SECTIONS[section]] if section else new
    for name, value in old.items():
        path, key = f"{section}.{name}".lstrip("."), KEYS.get(name, name)
        if path in SECTIONS:
            unused += _convert_params(new, value, path)
        elif key not in target or isinstance(value, dict):
            unused += [path] * (path not in MOVED)
        elif key not in ("image_sizes", "C"):
            target[key] = TRAINABLE.get(value, value) if key == "trainable" else value
        elif value is not None:
            target[key][:] = [value]
    return unused
