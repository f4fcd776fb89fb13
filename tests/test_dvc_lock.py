"""Commands compare a model with dvc.lock, because `git switch` leaves the models of the other branch."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smallset.cli import main, options
from smallset.pipeline import dvc_lock

LOCK = """schema: '2.0'
stages:
  train:
    cmd: train
    deps:
    - path: models/b.keras
      md5: 00000000000000000000000000000000
    outs:
    - path: models/a.keras
      hash: md5
      md5: 0cc175b9c0f1b6a831c399e269772661
      size: 1
"""
WARNING = "a.keras: is not the model in this commit's dvc.lock, as after git switch. Run: dvc checkout\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "models").mkdir()
    for name in "ab":
        (tmp_path / f"models/{name}.keras").write_text(name)
    return tmp_path


def test_the_model_of_another_commit_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [project / "models/a.keras", Path("models/b.keras")]
    assert [*dvc_lock.describe_other(models), *dvc_lock.describe_project()] == []
    models[0].write_text("A")
    models[0].rename(project / "linked")  # as with cache.type symlink
    models[0].symlink_to(project / "linked")
    options.check_model(models[0])
    assert capsys.readouterr().err == f"{models[0].parent}/{WARNING}"
    monkeypatch.chdir(project / "models")
    assert [*dvc_lock.describe_other([Path("../models/a.keras")])] == [f"../models/{WARNING[:-1]}"]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("command", ["diff", "review"])
def test_commands_without_a_model_compare_all_models(command: str) -> None:
    Path("models/a.keras").write_text("A")
    result = CliRunner().invoke(main.app, [command])
    assert result.stderr.startswith(f"models/{WARNING}")
    assert result.exit_code == 2  # here are no results


@pytest.mark.parametrize("lock", [LOCK[:100], "stages: 1", "", "\0"])
def test_without_a_complete_lock_or_outside_of_a_project_nothing_is_compared(project: Path, lock: str) -> None:
    Path("models/a.keras").write_text("A")
    Path("dvc.lock").write_text(lock)
    assert [*dvc_lock.describe_project(), *dvc_lock.describe_other([Path("models/a.keras"), project.parent])] == []


def test_dvc_is_not_imported() -> None:
    code = "import sys; from smallset.cli import options, predict, review, diff; print('dvc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
