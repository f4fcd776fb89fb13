"""The code that runs is the code that DVC tracks: a stage takes smallset from its own project's src, or stops."""

import sys
from pathlib import Path


def check(package: Path, script: Path) -> None:
    """End the process where `script` is a project's stage and `package`, its smallset, is another's."""
    own = script.resolve().parent.parent / "src" / "smallset"
    if script.parent.name != "stages" or not own.is_dir() or own.samefile(package):
        return
    sys.exit(
        f"{script.stem}: this would run the smallset in {package}, but DVC tracks the one in {own}. "
        f'Install that one, in this Python environment: pip install -e "{own.parent.parent}"'
    )
