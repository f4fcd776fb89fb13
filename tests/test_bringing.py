"""What smallset brings into a project: a graph and params that fit each other, and all the code that they need."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from smallset.cli import bringing
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

ROOT = Path(__file__).parents[1]
LEAN, CHAPTER = False, True


def parsed(text: str) -> Any:
    return yaml.safe_load(text)


def test_the_chapter_of_a_project_is_the_repository_s_with_its_own_photos_in_place_of_a_download() -> None:
    expected = parsed((ROOT / "dvc.yaml").read_text().replace("data/raw", "photos"))
    del expected["stages"]["download"]
    assert parsed(bringing.graph(CHAPTER)) == expected
    known = parsed((ROOT / "params.yaml").read_text())
    del known["download"]
    assert parsed(bringing.params(CHAPTER)) == known


@pytest.mark.parametrize("chapter", [LEAN, CHAPTER])
def test_graph_params_and_scripts_fit_each_other(chapter: bool) -> None:
    brought = bringing.code(chapter)
    stages = parsed(brought["dvc.yaml"].decode())["stages"].values()
    keys = {key.partition(".")[0] for stage in stages for key in stage.get("params", [])}
    assert params.parse(parsed(bringing.params(chapter))).model_fields_set == keys
    deps = {dep.removeprefix("${root}/") for stage in stages for dep in stage["deps"]}
    code = {dep for dep in deps if dep.startswith(("stages/", "src/"))}
    assert all(any(path == dep or path.startswith(f"{dep}/") for path in brought) for dep in code)
    assert {path for path in brought if path.startswith("stages/")} == {dep for dep in code if dep.endswith(".py")}


def test_all_of_the_package_is_brought_and_nothing_that_python_compiles() -> None:
    brought = bringing.code(LEAN)
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src/smallset").rglob("*.*") if path.is_file()}
    wanted = {path for path in own if "__pycache__" not in path} | {"src/smallset/LICENSE"}
    assert {path for path in brought if path.startswith("src/")} == wanted
    assert all((ROOT / path).read_bytes() == brought[path] for path in wanted & own)


def test_a_project_can_be_installed_without_the_files_that_it_has_not() -> None:
    import tomllib

    own = tomllib.loads(bringing.code(LEAN)["pyproject.toml"].decode())
    everything = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(own) == {"build-system", "project"}
    assert all(own[key] == everything[key] for key in own)


def test_a_wheel_takes_along_all_that_is_brought_beside_the_package() -> None:
    import tomllib

    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*bringing.BESIDE, "dvc.yaml", "params.yaml", "pyproject.toml", "LICENSE", "stages", "project"}
    assert build["force-include"] == {name: f"smallset/project/{name}" for name in needed}


def test_no_path_of_this_machine_is_brought() -> None:
    for path, content in bringing.code(LEAN).items():
        assert not re.search(rb"/home/|/Users/|" + str(ROOT).encode(), content), path


def test_a_project_s_own_smallset_brings_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringing, "PACKAGE", tmp_path / "src/smallset")
    with pytest.raises(
        SmallsetError, match="this smallset is a project's own, and brings nothing into another. Install"
    ):
        bringing.source()
