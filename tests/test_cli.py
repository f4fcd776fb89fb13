"""The frame of the command line: lazy commands, one line for an error, exit codes, and streams of any kind."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from smallset.cli import main
from smallset.pipeline import stage
from smallset.pipeline.errors import SmallsetError

SOURCES = [*Path(main.__file__).parents[1].rglob("*.py"), *(Path(__file__).parents[1] / "stages").glob("*.py")]
HEAVY = {"keras", "matplotlib", "numpy", "openvino", "pandas", "sklearn", "tensorflow"}
SUGGEST = """
import types, smallset.cli.main as m
def suggest():
    "Print it."
    print("\\uace0 \\udcff")
m.import_module = lambda _: types.SimpleNamespace(suggest=suggest)
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main.app, [str(argument) for argument in arguments])


def smallset(*arguments: str, before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, after some code."""
    command = [sys.executable, "-c", f"{before}\nfrom smallset.cli.main import app; app()", *arguments]
    text: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
    return subprocess.run(command, capture_output=True, env=os.environ | environment, check=False, **text)


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], Result]:
    """Run a command that prints a result and raises an error."""

    def run_and_raise(error: Exception) -> Result:
        def suggest() -> None:
            """Do something."""
            print("a result")
            raise error

        monkeypatch.setattr(main, "import_module", lambda _: SimpleNamespace(suggest=suggest))
        return run("suggest")

    return run_and_raise


@pytest.mark.parametrize("name", main.COMMANDS)
def test_a_command_is_a_function_in_a_module_of_its_name(name: str) -> None:
    function = getattr(importlib.import_module(f"smallset.cli.{name}"), name)
    done = run(name, "--help")
    assert done.exit_code == 0
    assert done.stdout.count("Exit code: 0") == 1
    assert " ".join(function.__doc__.split()[:5]) in done.stdout
    assert f"  {name} " in run("--help").stdout


@pytest.mark.parametrize("arguments", [[], *([name] for name in main.COMMANDS)])
def test_a_help_fits_on_one_screen_and_needs_no_glossary(arguments: list[str]) -> None:
    text = CliRunner().invoke(main.app, [*arguments, "--help"], env={"COLUMNS": "80"}).stdout
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 80
    assert not re.findall(r"label issue|outlier|OOD|nonconformity|conformal|coverage of|embedding|backbone", text)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["predict", "--help"], ["sort", "--wrong"], ["wrong"]]
)
def test_help_and_wrong_options_import_nothing_heavy(arguments: list[str]) -> None:
    check = f"import atexit, sys; atexit.register(lambda: print(*({HEAVY} & set(sys.modules)), file=sys.stderr))"
    done = smallset(*arguments, before=check)
    assert done.stderr.splitlines()[-1] == ""
    assert done.returncode == (2 if "wrong" in arguments[-1] else 0)


def test_a_misspelled_command_is_corrected() -> None:
    done = run("evalute")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "No such command 'evalute'. Did you mean 'evaluate'" in done.stderr


@pytest.mark.parametrize("error", [SmallsetError("birds: expected a\nproject\x1b[1m"), OSError(2, "No such file", "x")])
def test_an_error_for_the_user_has_no_traceback(fail: Callable[[Exception], Result], error: Exception) -> None:
    done = fail(error)
    assert (done.exit_code, done.stdout) == (2, "a result\n")
    assert done.stderr.startswith("smallset: ")
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


def test_other_errors_are_not_hidden_and_a_reader_may_stop_reading(fail: Callable[[Exception], Result]) -> None:
    assert isinstance(fail(IndexError()).exception, IndexError)
    done = fail(BrokenPipeError(32, "Broken pipe"))
    assert (done.exit_code, done.stderr) == (1, "")


def test_results_are_utf8_with_the_bytes_of_odd_names() -> None:
    done = smallset("suggest", before=SUGGEST, LC_ALL="C", PYTHONUTF8="0")
    assert (done.returncode, done.stdout) == (0, "\uace0 \udcff\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(closed: str, tmp_path: Path) -> None:
    script = f'{sys.executable} -c "from smallset.cli.main import app; app()" run split {closed}'
    assert subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=False).returncode == 2


def test_run_needs_a_stage_and_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(stage, "run_module", lambda *arguments: calls.append(arguments))
    stages = "evaluate, features, fine_tune, issues, linear_probe, report, split"
    for name, message in (
        ("fine_tuned", f"fine_tuned: unknown stage. Expected: {stages}. Did you mean 'fine_tune'?"),
        ("split", "expected a project, found no dvc.yaml and no params.yaml. Change to the folder of one"),
    ):
        done = run("run", name)
        assert (done.exit_code, calls) == (2, [])
        assert message in done.stderr
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).touch()
    assert run("run", "evaluate", "fine_tuned").exit_code == 0
    assert calls == [("evaluate", "fine_tuned")]


def test_messages_name_commands_that_exist_and_no_files_for_dvc_repro() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    commands = set(re.findall(r"(?:[Rr]un: |`)smallset ([a-z]+)", sources))
    assert {"check"} <= commands <= set(main.COMMANDS)
    assert not re.findall(r"dvc repro \{(?:path|file|name|model)\}", sources)
