"""A project of one's own, from a wheel alone: built, installed away from any clone, and used as the docs tell.

docs/your-own-photos.md and docs/folders.md are run as they stand, on drawn photos of three classes, with training that
takes seconds, and in checkouts without links, as on Windows.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from projects import IDENTITY, make_tiny, run

from smallset.cli import bringing
from smallset.datasets import synthetic

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MODELS = ["linear", "pooled"]
FACES = {"heron": synthetic.cat, "robin": synthetic.dog, "wren": synthetic.cat}
PHOTOS = 20  # a class, of which each split has some
NEW = 3

Do = Callable[..., str]


@dataclass(frozen=True)
class Page:
    """What the commands of the docs have left, and printed."""

    birds: Path
    begun: str
    answer: str


def pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with photos, and a Python that has smallset from a wheel and all other packages from this one."""
    pytest.importorskip("hatchling", reason="the wheel is built without a network")
    folder = tmp_path_factory.mktemp("home")
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheels", ROOT)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    [site] = (folder / "venv").rglob("site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    [wheel] = (folder / "wheels").iterdir()
    pip("--python", folder / "venv/bin/python", "install", "--quiet", "--no-deps", "--no-index", wheel)
    (folder / ".gitconfig").write_text("[core]\n\tsymlinks = false\n")
    draw(folder / "Pictures")
    return folder


def draw(pictures: Path) -> None:
    """birds/ with class folders, new/ with photos to come, walks/ with a table of labels and groups."""
    rows = []
    for label, (name, face) in enumerate(FACES.items()):
        (pictures / "birds" / name).mkdir(parents=True)
        for number in range(PHOTOS):
            picture = synthetic.picture(face, 80, np.random.default_rng([label, number]))
            picture.save(pictures / f"birds/{name}/bird.{number}.jpg")
            (pictures / f"walks/walk-{number}").mkdir(parents=True, exist_ok=True)
            picture.save(pictures / f"walks/walk-{number}/{name}.jpg")
            rows.append({"file": f"walk-{number}/{name}.jpg", "label": name, "group": f"walk {number}"})
    pd.DataFrame(rows).to_csv(pictures / "walks.csv", index=False)
    (pictures / "new").mkdir()
    for number in range(NEW):
        synthetic.picture(synthetic.dog, 80, np.random.default_rng([9, number])).save(pictures / f"new/{number}.jpg")


@pytest.fixture(scope="module")
def do(home: Path) -> Do:
    """Run a command in a folder below, with that Python first; no clone is to be seen."""
    path = os.pathsep.join([str(home / "venv/bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return lambda folder, *command: run(home / folder, *command, PATH=path, PYTHONPATH="", HOME=str(home), PAGER="cat")


@pytest.fixture(scope="module")
def page(home: Path, do: Do) -> Page:
    pytest.importorskip("tf2onnx", reason='smallset export needs pip install -e ".[export]"')
    pages = "".join((ROOT / f"docs/{name}.md").read_text() for name in ("your-own-photos", "folders"))
    begin, *then = re.findall(r"```bash\n(.*?)```", pages, re.DOTALL)
    begun = do(".", "bash", "-euo", "pipefail", "-c", begin)
    make_tiny(home / "birds")
    return Page(home / "birds", begun, do("birds", "bash", "-euo", "pipefail", "-c", "\n".join(then)))


def test_a_wheel_brings_what_a_clone_brings(home: Path) -> None:
    script = "from smallset.tools import bringing; print(bringing.record(bringing.code(False), False).digests)"
    [python] = (home / "venv/bin").glob("python3.*")
    done = subprocess.run([python, "-c", script], env={"PATH": ""}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(bringing.record(bringing.code(chapter=False), chapter=False).digests)


def test_every_command_of_the_pages_does_what_they_say(home: Path, page: Page, do: Do) -> None:
    assert f"birds: a project with {3 * PHOTOS} photos of 3 classes" in page.begun
    assert "| pooled |" in page.answer
    lines = [json.loads(line) for line in (home / "new.jsonl").read_text().splitlines()]
    assert len(lines) == NEW
    assert set(lines[0]["probabilities"]) == set(FACES)
    assert len((home / "new.csv").read_text().splitlines()) == 1 + NEW
    assert (home / "new.png").is_file()
    assert (page.birds / "models/pooled.onnx").is_file()
    subset = json.loads((page.birds / "metrics/subset.json").read_text())
    assert sum(photos["robin"] for photos in subset["photos"].values()) == PHOTOS + NEW
    assert "Data and pipelines are up to date." in page.answer  # the colleague's dvc repro
    assert do("colleague", "git", "status", "--porcelain") == ""
    params = yaml.safe_load((page.birds / "params.yaml").read_text())
    assert params["pooled"]["epochs"] == 2  # as the named experiment left it
    assert ": up to date" in page.answer
    assert yaml.safe_load((home / "walks/params.yaml").read_text())["subset"]["by"] == "fraction"
    assert len((home / "walks/photos/photos.csv").read_text().splitlines()) == 1 + 3 * PHOTOS


def test_what_it_leaves_is_small_and_its_own(home: Path, page: Page, do: Do) -> None:
    rows = do("birds", "dvc", "metrics", "show", "--json")
    assert set(json.loads(rows)[""]["data"]) == {f"metrics/{model}.json" for model in MODELS}
    do("birds", "dvc", "plots", "show")
    assert do("birds", "git", "status", "--porcelain") == ""
    shared = {path for path in (home / "storage").rglob("*") if path.is_file()}
    kept = {path.stat().st_ino for path in (page.birds / "data/larger").iterdir()}
    assert shared
    assert not kept & {path.stat().st_ino for path in (page.birds / ".dvc/cache").rglob("*")}


def test_the_code_inside_is_what_runs(page: Page, do: Do) -> None:
    with (page.birds / "src/smallset/sources/splits.py").open("a") as file:
        file.write("\nprint(__file__)\n")
    assert str(page.birds / "src/smallset/sources/splits.py") in do("birds", "dvc", "repro", "subset")
    do("birds", "git", "checkout", "--quiet", "src")
    do("birds", "dvc", "repro", "subset")
    assert do("birds", "git", "status", "--porcelain") == ""


def test_an_experiment_away_from_the_files_leaves_every_one(page: Page, do: Do) -> None:
    before = {path for path in page.birds.rglob("*") if not {".dvc", ".git", "__pycache__"} & set(path.parts)}
    do("birds", "dvc", "exp", "run", "--temp", "--set-param", "compare.smoothing=0.5")
    assert "smoothing" in do("birds", "dvc", "exp", "show", "--csv")
    assert before <= set(page.birds.rglob("*"))
    assert do("birds", "git", "status", "--porcelain") == ""


def test_an_update_brings_the_code_of_the_smallset_that_is_installed(page: Page, do: Do) -> None:
    assert "birds: up to date" in do(".", "smallset", "update", "birds")
    [package] = (page.birds.parent / "venv").rglob("site-packages/smallset")
    for path in ("storage/files.py", "project/stages/side.py", "project/project/lean.yaml"):
        with (package / path).open("a") as file:
            file.write("# newer\n")
    assert "See git diff, then: dvc repro" in do("birds", "smallset", "update")
    changed = do("birds", "git", "diff", "--name-only").split()
    assert changed == [".smallset.json", "dvc.yaml", "src/smallset/storage/files.py", "stages/side.py"]


def test_a_project_installs_its_own_smallset(page: Page, home: Path) -> None:
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", home / "own", page.birds)
    [site] = (home / "own").glob("smallset-*.whl")
    pip("install", "--quiet", "--no-deps", "--target", home / "target", site)
    assert (home / "target/smallset/tools/cli.py").is_file()
    assert (home / "target/smallset/showing/templates/report.html").is_file()
    command = [
        sys.executable,
        "-m",
        "typer",
        "smallset.cli.app",
        "run",
        "init",
        "x",
        "--photos",
        str(home / "Pictures/birds"),
    ]
    environment = os.environ | IDENTITY | {"PYTHONPATH": str(home / "target")}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "this smallset is a project's own, and brings nothing into another" in done.stderr
