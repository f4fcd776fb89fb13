"""The code that runs is the code that DVC tracks: a stage takes smallset from its own project's src."""

import os
import subprocess
import sys
from pathlib import Path


def check(package: Path, script: Path) -> None:
    """Where `script` is a project's stage and `package`, its smallset, is another's, start again with its own.

    So any smallset will do that is installed: a wheel's, another clone's, and for the copy of a project that DVC makes
    for a queued experiment that of the project itself.
    """
    own = script.resolve().parent.parent / "src" / "smallset"
    if script.parent.name != "stages" or not own.is_dir() or own.samefile(package):
        return
    first, _, _ = os.environ.get("PYTHONPATH", "").partition(os.pathsep)
    if first == str(own.parent):  # started again already, in vain
        sys.exit(
            f"{script.stem}: this would run the smallset in {package}, but DVC tracks the one in {own}. "
            f'Install that one, in this Python environment: pip install -e "{own.parent.parent}"'
        )
    restart(own.parent)


def restart(source: Path) -> None:
    """Run this process's command anew, with the packages in `source` before all others; it does not return."""
    others = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{source}{os.pathsep}{others}" if others else str(source)
    command = [sys.executable, *sys.argv]
    if os.name == "posix":
        os.execv(sys.executable, command)  # noqa: S606 - the same process, for those who watch it
    sys.exit(subprocess.run(command, check=False).returncode)
