"""A project of one's own, made without the seconds that it takes to time a network."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from smallset.cli import initialising

IDENTITY = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def estimate(*_: Any) -> str:
    return "about a minute"


def create(folder: Path, photos: Path, table: Path | None = None, *, chapter: bool = False) -> str:
    return initialising.create(folder, photos, table, chapter, estimate)


def draw(folder: Path, count: int, size: tuple[int, int] = (200, 190), shade: int = 0) -> None:
    """Plain pictures, no two alike."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, (number, shade, 0)).save(folder / f"{number}.jpg")


def identify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git know who commits."""
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


def run(folder: Path, *command: str, **environment: str) -> str:
    """Standard output of a command, with this Python's commands first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    names = IDENTITY | {"PATH": path, "DVC_NO_ANALYTICS": "1"} | environment
    done = subprocess.run(command, cwd=folder, env=os.environ | names, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_tiny(project: Path) -> None:
    """Params with which a run takes a minute, most of it for the start of its stages; committed."""
    document = yaml.safe_load((project / "params.yaml").read_text())
    document["base"]["weights"] = None
    document["larger"]["side"] = 64
    document["pooled"] |= {"epochs": 1, "depth": "top"}
    (project / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    run(project, "git", "commit", "--quiet", "--all", "--message", "Tiny")
