"""The command line, `smallset`: results go to stdout, everything else to stderr.

To add a command, write `smallset/cli/<name>.py` with a function `<name>`, and a line in COMMANDS.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from smallset.pipeline import process, text
from smallset.pipeline.errors import SmallsetError

COMMANDS = {
    "ui": "Do everything on one local web page, from photos to a trained model.",
    "init": "Create a project from a folder of photos.",
    "upgrade": "Move a project to the installed version of smallset.",
    "run": "Run one stage of a project; dvc.yaml calls this.",
    "predict": "Print the labels of photos, and flag photos that show none of the classes.",
    "sort": "Copy photos into a folder for each label.",
    "suggest": "Print which photos to label next.",
    "explain": "Draw where in a photo the model sees a class.",
    "review": "Check photos and labels on a local web page.",
    "demo": "Try a model on a local web page.",
    "evaluate": "Measure a model on labeled photos.",
    "diff": "Compare the results with those of an earlier commit.",
    "check": "Find damaged files of a project, and repair them.",
    "export": "Write a model as ONNX, LiteRT, SavedModel or a web page.",
}
EXIT_CODES = "Exit code: 0 success, 1 some files could not be read, 2 an error or a wrong option."
SETTINGS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}


class LazyGroup(TyperGroup):
    """Imports the module of a command when that command is used, so that --help and wrong names are fast."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - Typer's
        super().__init__(**settings)
        self.commands: Any = dict.fromkeys(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - Typer's
        """The command of this name; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        function = getattr(import_module(f"smallset.cli.{cmd_name}"), cmd_name)
        app = typer.Typer(add_completion=False, **SETTINGS)
        app.command(cmd_name, epilog=None if "Exit code:" in function.__doc__ else EXIT_CODES)(
            _report_errors()(function)
        )
        return typer.main.get_command(app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - Typer's
        """List the commands in the help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(show: bool) -> None:
    if show:
        print(f"smallset {metadata.version('smallset')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")]

app = typer.Typer(cls=LazyGroup, no_args_is_help=True, epilog=EXIT_CODES, **SETTINGS)


@app.callback()
def prepare(_version: Version = False) -> None:
    """Train image classifiers on your own photos, use them, and check photos and labels."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names that are not UTF-8 come out as the bytes that they are
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")


@contextmanager
def _report_errors() -> Iterator[None]:
    """Prepare the process; print an error that the user can fix in one line on stderr, and exit with code 2."""
    process.prepare()
    try:
        yield
    except BrokenPipeError:  # the reader of stdout has seen enough; Typer ends without a message
        raise
    except (SmallsetError, OSError) as error:
        print(f"smallset: {text.lines(error)}", file=sys.stderr)
        raise typer.Exit(2) from None
