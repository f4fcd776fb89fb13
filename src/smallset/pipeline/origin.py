"""The code that runs is the code that DVC tracks: a stage takes smallset from its own project's src, or stops."""

import os
import subprocess
import sys
from pathlib import Path

EXPERIMENTS = ".dvc/tmp/exps/"  # where DVC copies a project to, for queued experiments


def check(package: Path, script: Path) -> None:
    """End the process where `script` is a project's stage and `package`, its smallset, is another's.

    A copy that DVC has made for an experiment is installed nowhere: there the stage starts again, with its own code.
    """
    own = script.resolve().parent.parent / "src" / "smallset"
    if script.parent.name != "stages" or not own.is_dir() or own.samefile(package):
        return
    if EXPERIMENTS in own.as_posix():
        again(own.parent)
    sys.exit(
        f"{script.stem}: this would run the smallset in {package}, but DVC tracks the one in {own}. "
        f'Install that one, in this Python environment: pip install -e "{own.parent.parent}"'
    )


def again(source: Path) -> None:
    """Run this process's command anew, with the packages in `source` before all others; it does not return."""
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{source}{os.pathsep}{others}" if others else str(source)
    command = [sys.executable, *sys.argv]
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - the same process, for those who watch it
    sys.exit(subprocess.run(command, check=False).returncode)
