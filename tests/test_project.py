"""A project from a wheel alone: created, run by DVC, used, changed and run again, on tiny generated photos."""

import csv
import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from projects import SCRIPTS, run, shrink

from smallset.datasets import synthetic
from smallset.images import decoding
from smallset.pipeline import process

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("project")]

ROOT = Path(__file__).parents[1]
PHOTOS, NEW = 30, 4  # per class; photos that are added later

Do = Callable[..., str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, and with a Python that has smallset from a wheel and all other packages from this one."""
    pytest.importorskip("hatchling", reason="the wheel is built without a network")
    folder = tmp_path_factory.mktemp("home")

    def pip(*arguments: str | Path) -> None:
        subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True, capture_output=True)

    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheels", ROOT)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    [site] = (folder / "venv").rglob("site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    [wheel] = (folder / "wheels").iterdir()
    pip("--python", folder / "venv/bin/python", "install", "--no-deps", "--no-index", wheel)
    synthetic.draw(folder / "photos", PHOTOS + NEW, 64, seed=0)
    (folder / "new").mkdir()
    for number in range(NEW):
        (folder / f"photos/cat/cat.{number}.jpg").rename(folder / f"new/cat.{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def do(home: Path) -> Do:
    """Run a command in the project, with that Python first and without the clone; return what it prints."""
    path = os.pathsep.join([str(home / "venv/bin"), str(SCRIPTS), os.environ["PATH"]])
    return lambda *command, folder="birds": run(home / folder, *command, PATH=path, PYTHONPATH="", HOME=str(home))


@pytest.fixture(scope="module")
def project(home: Path, do: Do) -> Path:
    """The project after its first run, committed."""
    do("smallset", "init", "birds", "--photos", "photos", folder=".")
    shrink(home / "birds")
    stages = repro(do)
    assert stages.index("evaluate@linear_probe") < stages.index("fine_tune")
    assert len(stages) == 8
    commit(do)
    return home / "birds"


def repro(do: Do) -> list[str]:
    """The stages that DVC ran."""
    return [line.split("'")[1] for line in do("dvc", "repro").splitlines() if line.startswith("Running stage")]


def commit(do: Do) -> None:
    do("git", "add", "--all")
    do("git", "commit", "--quiet", "--message", "Results")


def count_decodings(project: Path, monkeypatch: pytest.MonkeyPatch, *stages: str) -> Counter[str]:
    """Run stages of a project in this process, and count how often each photo is decoded."""
    counts, decode = Counter[str](), decoding.decode_with_size

    def count(path: str | Path) -> Any:
        counts[Path(path).as_posix()] += 1
        return decode(path)

    monkeypatch.setattr(decoding, "decode_with_size", count)
    monkeypatch.setattr(sys, "argv", ["smallset"])
    monkeypatch.chdir(project)
    process.prepare()
    for stage in stages:
        monkeypatch.setenv("DVC_STAGE", stage)
        importlib.import_module(f"smallset.stages.{stage}").main()
    return counts


def test_a_project_is_small_and_a_second_run_does_nothing(do: Do, project: Path) -> None:
    assert len(do("git", "ls-files").splitlines()) < 80
    assert repro(do) == []
    assert do("git", "status", "--porcelain") == ""
    metrics = json.loads(do("dvc", "metrics", "show", "--json"))[""]["data"]
    assert set(metrics) == {"metrics/linear_probe.json", "metrics/fine_tuned.json"}
    do("dvc", "plots", "show")
    for name in ("report.html", "compare.md", "model-card.md"):
        assert (project / "plots" / name).is_file()


def test_the_model_predicts(do: Do) -> None:
    rows = list(csv.DictReader(do("smallset", "predict", "models/fine_tuned.keras", "../photos").splitlines()))
    assert len(rows) == 2 * PHOTOS + NEW
    assert {row["label"] for row in rows} <= {"cat", "dog"}


def test_a_stage_needs_dvc_and_the_pinned_version(do: Do, project: Path) -> None:
    text = (project / "params.yaml").read_text()
    for version, message in (("9.9.9", "pins smallset 9.9.9, but smallset"), ("", "Run: dvc repro")):
        (project / "params.yaml").write_text(text.replace("smallset: ", f"smallset: {version} #") if version else text)
        with pytest.raises(AssertionError, match=message):
            do("smallset", "run", "split")


def test_a_photo_is_decoded_three_times_at_most(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("dvc.lock", "cache"))
    counts = count_decodings(copy, monkeypatch, "split", "features", "issues", "fine_tune")
    assert set(counts.values()) == {3}
    assert len(counts) == 2 * PHOTOS + NEW


def test_added_photos_change_no_split_and_only_their_features_are_computed(
    home: Path, do: Do, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pd.read_csv(project / "metrics/photos.csv").set_index("file")
    for path in (home / "new").iterdir():
        shutil.copy(path, project / "photos/cat")
    do("dvc", "repro", "split")
    after = pd.read_csv(project / "metrics/photos.csv").set_index("file")
    assert len(after) == len(before) + NEW
    pd.testing.assert_frame_equal(after.loc[before.index], before)
    with monkeypatch.context() as patch:
        counts = count_decodings(project, patch, "features")
    assert counts == Counter(f"photos/cat/cat.{number}.jpg" for number in range(NEW))
    assert len(repro(do)) == 7
    assert f"{NEW} " in do("smallset", "diff", "HEAD")
    commit(do)
    assert repro(do) == []
    assert do("smallset", "check").strip() == "All files are as dvc.lock says."
