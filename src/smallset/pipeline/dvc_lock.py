"""What dvc.lock says about the files of a project, read without DVC, whose import takes a second."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from posixpath import normpath
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

FILE = Path("dvc.lock")
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


class Entry(NamedTuple):
    """What dvc.lock says about a stage: the md5 of each path, and the params as "params.yaml: key"."""

    deps: dict[str, str]
    outs: dict[str, str]
    params: frozenset[str]


NONE = Entry({}, {}, frozenset())


def parse(content: str) -> dict[str, Entry] | None:
    """The entries of all stages; None when DVC refuses the file."""
    entries = dict[str, Entry]()
    try:
        document = YAML(typ="safe").load(content)
        for name, entry in document.get("stages", {}).items() if document["schema"] else ():
            deps, outs = (_read_md5s(entry.get(kind, [])) for kind in ("deps", "outs"))
            params = (f"{file}: {key}" for file, keys in entry.get("params", {}).items() for key in keys)
            entries[name] = Entry(deps, outs, frozenset(params))
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError):
        return None
    return entries


def _read_md5s(items: list[dict[str, Any]]) -> dict[str, str]:
    return {normpath(item["path"]): item["md5"] for item in items if MD5.fullmatch(str(item.get("md5")))}


def read(path: Path = FILE) -> dict[str, Entry]:
    """The entries in a file; none before the first run, or when the file is damaged."""
    return (parse(path.read_bytes().decode(errors="replace")) if path.is_file() else None) or {}


def describe_other(models: Iterable[Path]) -> Iterator[str]:
    """Name the models that are not those in the dvc.lock of their project, as after `git switch`, and the fix.

    Models outside of a project, and those that dvc.lock does not name, are not compared.
    """
    for model in models:
        path = Path(os.path.abspath(model))  # noqa: PTH100 - it may be a link into DVC's cache
        project = next((folder for folder in path.parents if (folder / FILE).is_file()), path.parent)
        outs = {name: md5 for entry in read(project / FILE).values() for name, md5 in entry.outs.items()}
        md5 = outs.get(path.relative_to(project).as_posix())
        if md5 and md5 != hash_file(path):
            yield f"{model}: is not the model in this commit's {FILE}, as after git switch. Run: dvc checkout"


def describe_project() -> Iterator[str]:
    """The same for all models of the project in this folder."""
    outs = (Path(name) for entry in read().values() for name in entry.outs if name.endswith(".keras"))
    return describe_other(filter(Path.is_file, outs))


def hash_file(path: Path) -> str:
    """The md5 of a file's bytes; "" of a file that cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
    return ""
