"""Commands in messages exist; test_check runs those of `smallset check`."""

import re
from pathlib import Path

from smallset.cli import main

ROOT = Path(__file__).parents[1]
SOURCES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)


def test_a_command_that_a_message_names_is_there() -> None:
    commands = set(re.findall(r"(?:[Rr]un: |`)smallset ([a-z]+)", TEXT))
    assert "check" in commands
    assert commands <= set(main.COMMANDS)


def test_dvc_repro_gets_stages_and_no_files() -> None:
    assert not re.findall(r"dvc repro \{(?:path|file|name|model)\}", TEXT)
