"""dvc.lock beside the graph and beside git's: DVC writes it in place, and what a kill leaves of it is often valid."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.stage import PipelineStage
from dvc.utils.serialize import YAMLFileCorruptedError, dump_yaml, parse_yaml
from voluptuous import Invalid

from smallset.pipeline import committed, files

LOCK = Path("dvc.lock")
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")

Entry = dict[str, Any]
Entries = dict[str, Entry]  # by the stage's name


def now() -> Entries | None:
    """The entries of this folder's dvc.lock; None where it is not one."""
    return entries(LOCK.read_text(encoding="utf-8", errors="replace")) if LOCK.is_file() else {}


def before() -> Entries:
    """Those of git's HEAD."""
    text = committed.text(LOCK)
    return (entries(text) if text else None) or {}


def entries(text: str) -> Entries | None:
    """Those of a lock file's text; None where DVC would refuse it."""
    try:
        return dict(COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, LOCK)).get("stages", {}))
    except (YAMLFileCorruptedError, Invalid):
        return None


def cut(stages: Iterable[PipelineStage], own: Entries, earlier: Entries) -> Iterator[tuple[str, str]]:
    """The stages of which `own` lacks what the graph and `earlier` have, or what is there already; and what it is.

    An entry that lacks what git's lacks, too, is no damage: the graph was edited, and `dvc repro` sees it.
    """
    for stage in stages:
        entry, other = own.get(stage.name), earlier.get(stage.name)
        if entry is None and (other is not None or all(out.exists for out in stage.outs)):
            yield stage.name, "its entry is gone" if other else "it has no entry, and its outputs are there"
        elif entry is not None:
            lacking = sorted(declared(stage) - known(entry))
            if lacking and (other is None or not declared(stage) - known(other)):
                yield (
                    stage.name,
                    f"its entry is cut: {', '.join(lacking[:3])} {'is' if len(lacking) == 1 else 'are'} missing",
                )
            elif other and shorter(entry, other):
                yield stage.name, "its entry is cut within a number"


def declared(stage: PipelineStage) -> set[str]:
    """What the graph says that a stage's entry has: paths, and params as `path: key`."""
    params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
    keys = {f"{dep.def_path}: {key}" for dep in params for key in dep.params}
    return keys | {one.def_path for one in [*stage.deps, *stage.outs] if one not in params}


def known(entry: Entry) -> set[str]:
    """What an entry has whole, in the same form."""
    keys = {f"{path}: {key}" for path, values in entry.get("params", {}).items() for key in values}
    return keys | {item["path"] for item in items(entry) if "md5" not in item or MD5.fullmatch(str(item["md5"]))}


def items(entry: Entry) -> list[dict[str, Any]]:
    """The deps and outs of an entry, those without any sum left out."""
    rest = {"path", "hash", "size", "nfiles", "isexec"}
    return [item for item in [*entry.get("deps", []), *entry.get("outs", [])] if set(item) - rest]


def shorter(entry: Entry, other: Entry) -> bool:
    """Whether of the same bytes two entries know other facts: where a file is cut, the last number may lose digits."""
    facts = {(item["path"], item.get("md5")): item for item in items(other)}
    return any(facts.get((item["path"], item.get("md5")), item) != item for item in items(entry))


def mend(stages: Iterable[str], own: Entries, earlier: Entries) -> None:
    """Give the stages the entries that git has of them, or none, by which DVC runs them again."""
    kept = {name: entry for name, entry in own.items() if name not in stages}
    found = kept | {name: earlier[name] for name in stages if name in earlier}
    with files.atomic_write(LOCK) as draft:
        dump_yaml(draft, {"schema": "2.0", "stages": found})


def restore() -> None:
    """Take git's dvc.lock in place of one that DVC refuses; without one, none, by which DVC runs all stages again."""
    text = committed.text(LOCK)
    if text is None:
        files.remove(LOCK)
    else:
        files.write_text(LOCK, text)
