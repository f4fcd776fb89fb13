"""A copy of the pipeline in a git repository of its own, with training that takes seconds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

import yaml

from smallset.pipeline import params

ROOT = Path(__file__).parents[1]
MODELS = ["convnet", "convnet_augmented", "classifier", "augmented", "fine_tune", "linear", "pooled"]
TINY = {
    "batch": 8,
    "epochs": 2,
    "learning_rate": 1e-3,
    "epsilon": 1e-7,
    "ema_momentum": None,
    "class_weights": "balanced",
    "calibrate": True,
}
NETWORK = {"filters": [32, 64, 128, 256, 256], "pooled": 4, "units": None, "dropout": 0, "color": "rgb"}
# On an untrained base a head learns nothing: the best temperature is endless, and leaves no difference to be seen.
HEAD = {"units": 8, "dropout": 0.5, "calibrate": False}
SEEDS = {"classifier": 2, "augmented": 1, "fine_tune": 2, "pooled": 2}
PARAMS = {
    "image": {"side": 78},
    "base": {"name": "VGG16", "weights": None, "cut": None},
    "subset": {"by": "count", "train": 8, "validation": 4, "test": 6},
    "convnet": TINY | NETWORK,
    "convnet_augmented": TINY | NETWORK | {"ema_momentum": 0.5, "dropout": 0.5},
    "activations": {"views": 2},
    "classifier": TINY | HEAD,
    "augmented": TINY | HEAD,
    "fine_tune": TINY | {"learning_rate": 1e-5, "calibrate": False},
    "larger": {"side": 96, "mirror": True},
    "linear": {"C": 0.01, "class_weights": "balanced", "calibrate": False},
    "pooled": TINY | {"depth": "top", "learning_rate": 1e-5, "ema_momentum": 0.5, "calibrate": False, "patience": None},
    "seeds": SEEDS,
}
IDENTITY = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

Training = TypeVar("Training", bound=params.Training)


def short(kind: type[Training], **own: object) -> Training:
    """Params for a few steps on a few photos, each of which shows."""
    known: dict[str, Any] = TINY | {"batch": 4, "learning_rate": 1e-2, "class_weights": None, "calibrate": False} | own
    return kind(**known)


class Pipeline:
    """A git repository with a copy of this one's pipeline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("dvc.yaml", "corrections.csv", ".gitignore", ".dvcignore", ".gitattributes"):
            shutil.copy(ROOT / name, folder)
        for name in ("stages", "src", ".dvc/plots"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
        document = yaml.safe_load((ROOT / "params.yaml").read_text()) | PARAMS
        document["download"] |= {"source": "sample", "sample": {"photos": 20, "side": 80}}
        self.write_params(document)
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.commit("start")

    def run(self, *command: str, code: int | None = 0, **environment: str) -> str:
        """Standard output and error of a command that ends with `code`, or any."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A command in a process group of its own, under way."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        names = IDENTITY | {"PATH": path, "PYTHONPATH": str(self.folder / "src"), "DVC_NO_ANALYTICS": "1"}
        return os.environ | names

    def repro(self, *arguments: str, folder: str = ".") -> set[str]:
        """The stages that `dvc repro` ran in a folder."""
        lines = self.run("dvc", "--cd", folder, "repro", *arguments).splitlines()
        return {line.split("'")[1] for line in lines if line.startswith("Running stage")}

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def add(self, name: str, **changes: dict[str, object]) -> None:
        """One of this repository's pipeline folders, with its own params but for `changes`."""
        folder = self.folder / name
        folder.mkdir()
        for own in ("dvc.yaml", "corrections.csv"):
            shutil.copy(ROOT / name / own, folder)
        document = yaml.safe_load((ROOT / name / "params.yaml").read_text())
        for key, values in changes.items():
            document[key] |= values
        self.write_params(document, name)

    def write_params(self, document: Any, folder: str = ".") -> None:
        (self.folder / folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    def set(self, key: str, name: str, value: object, folder: str = ".") -> None:
        document = yaml.safe_load((self.folder / folder / "params.yaml").read_text())
        document[key][name] = value
        self.write_params(document, folder)

    def md5s(self, folder: str = ".") -> dict[str, str]:
        """The digest of every output in dvc.lock."""
        stages = yaml.safe_load((self.folder / folder / "dvc.lock").read_text())["stages"].values()
        return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}
