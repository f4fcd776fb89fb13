"""Projects that `smallset init` creates from generated photos, for several tests."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

IDENTITY = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
SCRIPTS = Path(sys.executable).parent


def draw(folder: Path, count: int, size: tuple[int, int] = (64, 48), seed: int = 0) -> None:
    """Draw `count` different pictures, called 0.jpg, 1.jpg, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR).save(folder / f"{number}.jpg")


def identify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell git who commits."""
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


def skip_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `smallset init` go without `dvc add`, which takes seconds."""
    monkeypatch.setattr(sys, "executable", "true")


def run(folder: Path, *command: str, **environment: str) -> str:
    """The standard output of a command, with this Python's commands first; it must succeed."""
    names = IDENTITY | {"PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"} | environment
    done = subprocess.run(command, cwd=folder, env=os.environ | names, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shrink(project: Path) -> None:
    """Commit params with which a run takes little more than the start of its stages."""
    document = yaml.safe_load((project / "params.yaml").read_text())
    document["features"] |= {"weights": None, "image_sizes": [64]}
    document["fine_tune"] |= {"epochs": 1, "trainable": "last_block", "batch_size": 8}
    (project / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    run(project, "git", "commit", "--quiet", "--all", "--message", "Tiny")
