"""What git has of a file: for comparisons with a committed run, on which no result of DVC's depends."""

import subprocess
from pathlib import Path

from smallset.pipeline.errors import SmallsetError

LAST = "HEAD"


def text(path: Path, revision: str = LAST) -> str | None:
    """A file below the working folder as `revision` has it; None where it has none, or there is no git."""
    try:
        return git("show", "--end-of-options", f"{revision}:./{path.as_posix()}")
    except (OSError, subprocess.CalledProcessError):
        return None


def check(revision: str) -> None:
    """SmallsetError unless git knows the revision."""
    try:
        git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except (OSError, subprocess.CalledProcessError):
        raise SmallsetError(
            f"{revision}: expected a commit, a branch or a tag of the git repository of {Path.cwd()}."
        ) from None


def git(*arguments: str) -> str:
    """What a git command prints, with the line ends that it has: a name may hold one."""
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout.decode()
