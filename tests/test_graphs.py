"""The graphs in dvc.yaml against the code: a stage declares the code that it imports and the params that it reads."""

import ast
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import graphs
import pytest
import yaml

ROOT = graphs.ROOT
PACKAGE = graphs.PACKAGE
FOLDERS = [".", "sample", "first-edition", "mnist", "beyond-the-book"]
HARMLESS = {"pipeline"}  # reads, checks and reports; the module that formats results is declared on its own
FORMATS = "src/smallset/pipeline/files.py"


@cache
def stages(folder: str) -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / folder / "dvc.yaml").read_text())["stages"]
    return declared


STAGES = [(folder, name) for folder in FOLDERS for name in stages(folder)]


def keys(stage: dict[str, Any]) -> set[str]:
    """The keys of params.yaml and ../params.yaml that a stage declares."""
    entries = [
        key for entry in stage["params"] for key in (entry["../params.yaml"] if isinstance(entry, dict) else [entry])
    ]
    return {key.partition(".")[0] for key in entries}


def entry_point(stage: dict[str, Any]) -> Path:
    """The script or the module that a stage runs."""
    words = stage["cmd"].replace("${root}/", "").split()
    return ROOT / words[1] if words[0] == "python" else PACKAGE / "stages" / f"{words[2]}.py"


@pytest.mark.parametrize(("folder", "name"), STAGES)
def test_a_stage_declares_exactly_the_code_that_it_imports_and_the_params_that_it_reads(folder: str, name: str) -> None:
    stage = stages(folder)[name]
    start = entry_point(stage)
    subpackages = {
        path.relative_to(PACKAGE).parts[0] for path in {start, *graphs.imported(start)} if PACKAGE in path.parents
    }
    expected = {f"src/smallset/{subpackage}" for subpackage in subpackages - HARMLESS} | {FORMATS}
    expected |= {start.relative_to(ROOT).as_posix()} if PACKAGE not in start.parents else set()
    declared = {dep.removeprefix("${root}/").removeprefix("../") for dep in stage["deps"]}
    assert {dep for dep in declared if dep.startswith(("src/", "stages/"))} == expected
    read = {
        node.attr
        for node in ast.walk(ast.parse(start.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "p"
    }
    if "getattr(p, " in start.read_text():
        read |= set(stage["cmd"].split()[2:]) - {"${item.model}"}
    if name != "report":  # shows all params
        assert keys(stage) - {"smallset"} >= read
        if "matrix" not in stage:
            assert read == keys(stage) - {"smallset"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_param_of_a_pipeline_has_a_stage(folder: str) -> None:
    declared = set().union(*(keys(stage) for stage in stages(folder).values()))
    written = set(yaml.safe_load((ROOT / folder / "params.yaml").read_text()))
    assert written <= declared
    if folder != ".":
        written |= set(yaml.safe_load((ROOT / "params.yaml").read_text()))
    assert declared <= written


def test_the_derived_graphs_are_as_written_and_all_are_short() -> None:
    for path, text in graphs.derived().items():
        assert path.read_text(encoding="utf-8") == text, "run: python tests/graphs.py"
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 200
    assert len(graphs.TEMPLATE.read_text().splitlines()) <= 90


def test_a_subpackage_states_its_purpose_and_has_a_layer() -> None:
    subpackages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    for subpackage in subpackages:
        assert ast.get_docstring(ast.parse((PACKAGE / subpackage / "__init__.py").read_text())), subpackage
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert set(project["importlinter"]["contracts"][0]["layers"]) == subpackages


def test_no_stage_depends_on_a_folder_in_which_dvc_keeps_a_gitignore() -> None:
    for folder in FOLDERS:
        cached = {
            Path(out).parent.as_posix()
            for stage in stages(folder).values()
            for entry in [*stage.get("outs", []), *stage.get("plots", [])]
            for out, flags in ({entry: {}} if isinstance(entry, str) else entry).items()
            if "cache" not in flags
        }
        deps = {dep for stage in stages(folder).values() for dep in stage["deps"]}
        assert deps.isdisjoint(cached), folder


def test_git_tracks_no_link() -> None:
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if line.startswith("120000")]
