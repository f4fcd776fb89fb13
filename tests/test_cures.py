"""Commands that messages print are commands that there are; test_checking runs those of `smallset check`."""

import re

import pytest
import yaml
from pipelines import ROOT

from smallset.cli import app

SOURCES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)


@pytest.mark.parametrize("graph", ["dvc.yaml", "project/lean.yaml", "first-edition/dvc.yaml", "mnist/dvc.yaml"])
def test_a_stage_that_is_to_be_run_is_in_every_graph(graph: str) -> None:
    stages = yaml.safe_load((ROOT / graph).read_text(encoding="utf-8"))["stages"]
    named = set(re.findall(r"dvc repro (?:--force )?([a-z_]+)(?=[\s\"')}.])", TEXT))
    assert {"compare", "subset"} <= named  # of messages
    assert named <= set(stages)


def test_a_command_of_smallset_that_is_to_be_run_is_there() -> None:
    commands = {
        command.name or command.callback.__name__ for command in app.app.registered_commands if command.callback
    }
    named = set(re.findall(r"(?:Run: |`)smallset ([a-z]+)", TEXT))
    assert "check" in named
    assert named <= commands


def test_no_message_names_a_file_to_dvc_repro() -> None:
    assert not re.findall(r"dvc repro \{(?:path|file|name|model)\}", TEXT)
