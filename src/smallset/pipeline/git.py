"""What smallset asks of git."""

import os
import shutil
import subprocess
from pathlib import Path

from smallset.pipeline import files
from smallset.pipeline.errors import SmallsetError

HEAD = "HEAD"
HOOK = """#!/bin/sh
# After git switch, DVC checks out the models and the photos of that commit, where they are different.
# `dvc install` has two more hooks: they stop each commit when dvc is not in the PATH, and each push without a remote.
[ "$3" = 1 ] && [ ! -d .git/rebase-merge ] && command -v dvc > /dev/null || exit 0
targets=$(git diff --name-only --diff-filter=d "$1" "$2" -- dvc.lock '*.dvc' | sed 's/dvc\\.lock$/dvc.yaml/')
[ -z "$targets" ] || dvc checkout $targets
"""


def run(folder: Path, *arguments: str, check: bool = True) -> bytes:
    """The output of a git command in a folder; SmallsetError with git's message when it fails and `check` is set."""
    if shutil.which("git") is None:
        raise SmallsetError("git was not found. Install it: a project is a git repository.")
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)  # noqa: S607 - the user's
    if check and done.returncode:
        message = done.stderr.decode(errors="replace").strip()
        raise SmallsetError(f"{folder}: git {arguments[0]} failed with exit code {done.returncode}: {message}")
    return done.stdout


def show(path: Path, revision: str = HEAD) -> str | None:
    """The text of a file in the working folder as of `revision`; None when git does not have it."""
    try:
        content = run(Path.cwd(), "show", "--end-of-options", f"{revision}:./{path.as_posix()}")
    except SmallsetError:
        return None
    return content.decode(errors="replace")


def check_revision(revision: str) -> None:
    """SmallsetError unless `revision` is a commit, a branch or a tag."""
    commit = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if not run(Path.cwd(), *commit, check=False):
        raise SmallsetError(f"{revision}: expected a commit, a branch or a tag of the git repository of {Path.cwd()}.")


def find_repository(folder: Path) -> Path | None:
    """The top folder of the git repository that contains the folder; None when there is none."""
    top = run(folder, "rev-parse", "--show-toplevel", check=False).decode().strip()
    return Path(top) if top else None


def add_hook(repository: Path) -> None:
    """Let `git switch` check out DVC's data as well. A hook that exists, as from the user's template, stays."""
    hook = repository / ".git/hooks/post-checkout"
    if not os.path.lexists(hook):
        files.write_text(hook, HOOK)
        hook.chmod(0o755)


def is_ignored(repository: Path, path: Path) -> bool:
    """Whether the repository's .gitignore files name the path."""
    return bool(run(repository, "check-ignore", str(path), check=False))


def check_identity(folder: Path) -> None:
    """SmallsetError unless git knows the name and the address for a commit."""
    for variable in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        if not run(folder, "var", variable, check=False):
            raise SmallsetError(
                "git does not know your name, which the project's first commit needs. Set it once:\n"
                '  git config --global user.name "Your Name"\n'
                "  git config --global user.email you@example.org"
            )
