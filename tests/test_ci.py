"""The workflows that `smallset init --ci` adds: what their commands do in a project with results."""

import os
import subprocess
from pathlib import Path

import projects
import pytest
import yaml

from smallset.cli import init

GRAPH = {
    "stages": {
        "train": {
            "cmd": "cp params.yaml model.keras && cp params.yaml metrics.json",
            "params": ["seed"],
            "outs": ["model.keras"],
            "metrics": [{"metrics.json": {"cache": False}}],
        }
    }
}


@pytest.fixture
def workflows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The commands of each workflow, without those that need a network."""
    projects.skip_dvc(monkeypatch)
    projects.identify(monkeypatch)
    for label in "ab":
        projects.draw(tmp_path / f"photos/{label}", 20, seed=ord(label))
    commands = {}
    for name, path in init.WORKFLOWS.items():
        init.create(tmp_path / name, tmp_path / "photos", None, ci=name)
        assert projects.run(tmp_path / name, "git", "ls-files", path)
        document = yaml.safe_load((tmp_path / name / path).read_text())
        jobs = document["jobs"] if name == "github" else document
        steps = [step["run"] for step in jobs["check"].get("steps", []) if "run" in step]
        steps += [*jobs["check"].get("script", []), *jobs["check"].get("after_script", [])]
        commands[name] = [step for step in steps if not step.startswith("pip") and "{{" not in step]
    return commands


@pytest.mark.slow
def test_old_results_fail_and_the_metrics_are_compared(tmp_path: Path, workflows: dict[str, list[str]]) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
    projects.run(folder, "git", "init", "--quiet", "--initial-branch=main")
    projects.run(folder, "dvc", "init", "--quiet")

    def commit(seed: int, run: bool) -> None:
        (folder / "params.yaml").write_text(f'{{"seed": {seed}}}')  # JSON is YAML
        if run:
            projects.run(folder, "dvc", "repro")
        projects.run(folder, "git", "add", "--all")
        projects.run(folder, "git", "commit", "--quiet", "--message", f"{seed}")

    def check() -> dict[str, list[int]]:
        """The exit codes of the commands, in the shells of GitHub and GitLab."""
        names = projects.IDENTITY | {"PATH": f"{projects.SCRIPTS}{os.pathsep}{os.environ['PATH']}", "BASE": "main~1"}
        codes = {}
        for name, steps in workflows.items():
            shells = [["bash", "-eo", "pipefail", "-c", step] for step in steps]
            done = [subprocess.run(shell, cwd=folder, env=os.environ | names, check=False) for shell in shells]
            codes[name] = [process.returncode for process in done]
        return codes

    commit(1, run=True)
    commit(2, run=True)
    assert {code for codes in check().values() for code in codes} == {0}
    assert "| metrics.json | seed |" in " ".join((folder / "metrics.md").read_text().split())
    (folder / "model.keras").unlink()  # without a remote
    assert {code for codes in check().values() for code in codes} == {0}
    commit(3, run=False)
    assert {name: codes.count(1) for name, codes in check().items()} == {"github": 1, "gitlab": 1}
