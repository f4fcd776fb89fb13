"""What git knows of a file, a revision and a person."""

import os
from pathlib import Path

import pytest

from smallset.pipeline import git
from smallset.pipeline.errors import SmallsetError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in os.environ.copy():
        if variable.startswith("GIT_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".git/global"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.txt").write_bytes(b"old\r\n")
    for command in ("init", "config user.email me@example.org", "config user.name Me", "add --all", "commit -m first"):
        git.run(tmp_path, *command.split())
    return tmp_path


def test_a_file_of_an_earlier_revision_is_shown(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "sub")
    Path("a.txt").write_text("new")
    assert git.show(Path("a.txt")) == "old\r\n"
    assert git.show(Path("b.txt")) is git.show(Path("a.txt"), "HEAD~1") is None


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("revision", ["HEAD~1", "--help", "nothing", ""])
def test_an_unknown_revision_is_named(revision: str) -> None:
    git.check_revision("HEAD")
    with pytest.raises(SmallsetError, match=f"{revision}: expected a commit, a branch or a tag"):
        git.check_revision(revision)


def test_a_repository_what_it_ignores_and_who_commits_are_found(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.log\n")
    assert git.find_repository(repository / "sub") == repository.resolve()
    assert git.is_ignored(repository, repository / "x.log")
    assert not git.is_ignored(repository, repository / "sub/a.txt")
    git.check_identity(repository)
    git.run(repository, "config", "--unset", "user.name")
    git.run(repository, "config", "user.useConfigOnly", "true")
    with pytest.raises(SmallsetError, match="git config --global user.name"):
        git.check_identity(repository)


def test_a_switch_checks_out_what_differs_and_no_hook_is_replaced(repository: Path, tmp_path: Path) -> None:
    dvc = tmp_path / "bin/dvc"
    dvc.parent.mkdir()
    dvc.write_text('#!/bin/sh\necho "$@" >> calls.log\n')
    dvc.chmod(0o755)
    git.add_hook(repository)
    hook = repository / ".git/hooks/post-checkout"

    def switch(*arguments: str, path: str = f"{dvc.parent}{os.pathsep}{os.environ['PATH']}") -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", path)
            git.run(repository, "switch", *arguments)
        return Path("calls.log").read_text().splitlines() if Path("calls.log").exists() else []

    git.run(repository, "branch", "-m", "main")
    assert switch("-c", "other") == []  # the same commit: photos that somebody has moved stay where they are
    for name in ("dvc.lock", "photos.dvc"):
        (repository / name).write_text("1")
        git.run(repository, "add", name)
        git.run(repository, "commit", "--message", name)
    assert switch("main", path=os.defpath) == []  # without dvc
    assert switch("other") == ["checkout dvc.yaml photos.dvc"]
    assert switch("--detach", "HEAD~1") == ["checkout dvc.yaml photos.dvc"]  # photos.dvc is gone: the same line
    hook.write_text("mine")
    git.add_hook(repository)
    assert hook.read_text() == "mine"


def test_without_a_repository_or_git_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert git.find_repository(tmp_path) is None
    with pytest.raises(SmallsetError, match="git log failed with exit code 128: fatal: not a git repository"):
        git.run(tmp_path, "log")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.show(Path("a.txt")) is None
    with pytest.raises(SmallsetError, match="git was not found"):
        git.find_repository(tmp_path)
