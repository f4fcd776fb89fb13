"""What the commands need of git."""

import shutil
import subprocess
from pathlib import Path

from smallset.pipeline.errors import SmallsetError


def run(folder: Path, *arguments: str, code: int | None = 0) -> bytes:
    """The output of a git command in a folder; SmallsetError with git's words unless it ends with `code`, or any."""
    if shutil.which("git") is None:
        raise SmallsetError("git was not found. Install it: a project is a git repository.")
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)  # noqa: S607 - the user's
    if code is not None and done.returncode != code:
        words = done.stderr.decode(errors="replace").strip()
        raise SmallsetError(f"{folder}: git {arguments[0]} ended with exit code {done.returncode}: {words}")
    return done.stdout


def repository(folder: Path) -> Path | None:
    """The top of the git repository that has the folder, if any."""
    top = run(folder, "rev-parse", "--show-toplevel", code=None).decode().strip()
    return Path(top) if top else None


def ignores(top: Path, path: Path) -> bool:
    """Whether the repository leaves the path alone."""
    return bool(run(top, "check-ignore", str(path), code=None))


def check_identity(folder: Path) -> None:
    """SmallsetError unless git knows who commits."""
    for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        if not run(folder, "var", who, code=None):
            raise SmallsetError(
                "git does not know who you are, and the project begins with a commit. Tell it once:\n"
                '  git config --global user.name "Your Name"\n'
                "  git config --global user.email you@example.org"
            )
