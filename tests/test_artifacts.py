"""A project's models are artifacts of DVC: another repository gets a version of one without a clone."""

import os
from pathlib import Path

import dvc.api
import projects
import pytest
import yaml
from dvc.cli import main

from smallset.cli import init
from smallset.pipeline import files


def run(folder: Path, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*arguments, "--quiet"]) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what DVC is built on
def test_another_repository_gets_a_version_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in projects.IDENTITY.items():
        monkeypatch.setenv(name, value)
    publisher, reader = tmp_path / "publisher", tmp_path / "reader"
    graph = yaml.safe_load(init.template(None)["dvc.yaml"])
    models = {name: Path(artifact["path"]) for name, artifact in graph["artifacts"].items()}
    outputs = {out for stage in graph["stages"].values() for out in stage.get("outs", []) if isinstance(out, str)}
    assert {path.as_posix() for path in models.values()} <= outputs
    command = " && ".join(f"cp params.yaml {path}" for path in models.values())
    stage = {"cmd": f"mkdir -p models && {command}", "params": ["seed"], "outs": [*map(str, models.values())]}
    document = {"stages": {"train": stage}, "artifacts": graph["artifacts"]}
    files.write_text(publisher / "dvc.yaml", yaml.safe_dump(document))
    for folder in (publisher, reader):
        folder.mkdir(exist_ok=True)
        projects.run(folder, "git", "init", "--quiet")
        run(folder, "init")
    run(publisher, "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    for version in ("1.0.0", "1.1.0"):
        (publisher / "params.yaml").write_text(f"seed: {version}\n")
        run(publisher, "repro")
        projects.run(publisher, "git", "add", "--all")
        projects.run(publisher, "git", "commit", "--quiet", "--message", version)
        projects.run(publisher, "git", "tag", "--annotate", f"fine_tuned@v{version}", "--message", version)
        run(publisher, "push")
    for wanted, tag in (("v1.0.0", "v1.0.0"), (None, "v1.1.0")):  # without a version, the newest
        commit = projects.run(publisher, "git", "rev-parse", f"fine_tuned@{tag}^{{commit}}").strip()
        shown = dvc.api.artifacts_show("fine_tuned", version=wanted, repo=os.fspath(publisher))
        assert shown == {"rev": commit, "path": "models/fine_tuned.keras"}
    run(reader, "artifacts", "get", os.fspath(publisher), "fine_tuned", "--rev", "v1.0.0")
    assert (reader / "fine_tuned.keras").read_text() == "seed: 1.0.0\n"
