"""What smallset brings into a project of one's own: the graph, the params, and all code that they run."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import smallset
from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

PACKAGE = Path(smallset.__file__).parent
INSIDE = "src/smallset"  # where a project has the package
BESIDE = (".dvc/.gitignore", ".dvc/config", ".dvc/plots", ".dvcignore", ".gitattributes", "requirements.lock")
GRAPH = "dvc.yaml"
LEAN = "project/lean.yaml"  # by another name, or DVC would take it for one more pipeline of the clone
PARAMS = "params.yaml"
RECORD = ".smallset.json"  # in a project: what was brought, by which a later smallset knows what its user has changed

Contents = dict[str, bytes]  # path in a project, with /, to a file's bytes


@dataclass(frozen=True)
class Record:
    """What a project was last brought."""

    version: str
    chapter: bool
    digests: dict[str, str]  # path in the project to the sha256 of what was brought


def source() -> Path:
    """The folder with stages/, dvc.yaml and all else beside the package: of a wheel in the package, else the clone."""
    for folder in (PACKAGE / "project", PACKAGE.parents[1]):
        if (folder / LEAN).is_file():
            return folder
    raise SmallsetError(
        f"{PACKAGE}: this smallset is a project's own, and brings nothing into another. Install smallset itself, in "
        f"this Python environment."
    )


def code(chapter: bool) -> Contents:
    """All that a project is brought but its params: the graph, the stages that it names, the package and more."""
    top, text = source(), graph(chapter)
    stages = sorted(set(re.findall(r"stages/\w+\.py", text)))
    found = {path: file.read_bytes() for name in (*BESIDE, *stages) for path, file in below(top / name, name)}
    found |= {path: file.read_bytes() for path, file in below(PACKAGE, INSIDE) if "project/" not in path}
    head, _, _ = (top / "pyproject.toml").read_text(encoding="utf-8").partition("\n[tool.")
    own = {GRAPH: text, "pyproject.toml": f"{head.rstrip()}\n"}  # the tools are for work on smallset itself
    found |= {name: content.encode() for name, content in own.items()}
    return found | {f"{INSIDE}/LICENSE": licence().read_bytes()}


def licence() -> Path:
    """smallset's, which goes with its code: a project's photos and models are under whatever its user says."""
    return next(path for path in (PACKAGE / "LICENSE", source() / "LICENSE") if path.is_file())


def below(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The file under its name, or each file of the folder under its own; what Python compiles is left out."""
    if path.is_file():
        yield name, path
        return
    for inner in sorted(path.rglob("*")):
        if inner.is_file() and inner.parent.name != "__pycache__":
            yield f"{name}/{inner.relative_to(path).as_posix()}", inner


def graph(chapter: bool) -> str:
    """dvc.yaml: the lean one, or the chapter's, which takes the project's photos in place of a download."""
    if not chapter:
        return (source() / LEAN).read_text(encoding="utf-8")
    text = (source() / GRAPH).read_text(encoding="utf-8")
    head, download, stages = re.split(r"(?m)^  (?=download:$|subset:$)", text)
    for anchor, room in re.findall(r'&(\w+) ("[^"]+")', download):
        stages = stages.replace(f"*{anchor}", f"&{anchor} {room}", 1)
    return f"{head}  {stages}".replace("data/raw", "photos")


def params(chapter: bool) -> str:
    """params.yaml, likewise."""
    if not chapter:
        return (source() / "project" / PARAMS).read_text(encoding="utf-8")
    return re.sub(r"(?ms)^download:.*?^(?=\w)", "", (source() / PARAMS).read_text(encoding="utf-8"))


def record(brought: Mapping[str, bytes], chapter: bool) -> Record:
    """The record of what is brought now."""
    return Record(metadata.version("smallset"), chapter, {path: digest(brought[path]) for path in sorted(brought)})


def write(folder: Path, brought: Mapping[str, bytes]) -> None:
    """Put the files into a project."""
    for path, content in brought.items():
        with files.atomic_write(folder / path) as draft:
            draft.write_bytes(content)


def write_record(folder: Path, own: Record) -> None:
    """Put the record into a project."""
    files.write_json(folder / RECORD, vars(own))


def read_record(folder: Path) -> Record:
    """The record of a project; SmallsetError where there is none."""
    if not (folder / RECORD).is_file():
        raise SmallsetError(f"{folder}: expected a project that smallset init made, found no {RECORD}. Change to it.")
    return Record(**json.loads((folder / RECORD).read_text(encoding="utf-8")))


def digest(content: bytes) -> str:
    """sha256, as hex."""
    return hashlib.sha256(content).hexdigest()
