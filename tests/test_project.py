"""A project of one's own, from a wheel alone: built, installed away from any clone, and used as its user would."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from projects import IDENTITY, make_tiny, run

from smallset.sources import drawing
from smallset.tools import bringing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
MODELS = ["linear", "pooled"]
STAGES = {
    *(
        "subset",
        "audit",
        "side",
        "linear",
        "learning_curve",
        "suspects",
        "pooled",
        "cross_validation",
        "compare",
        "report",
    )
}
STAGES |= {f"evaluate@{model}" for model in MODELS}
FACES = {"cat": drawing.cat, "dog": drawing.dog}

Do = Callable[..., str]


def pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, and a Python that has smallset from a wheel and all other packages from this one."""
    pytest.importorskip("hatchling", reason="the wheel is built without a network")
    folder = tmp_path_factory.mktemp("home")
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheels", ROOT)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    [site] = (folder / "venv").rglob("site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    [wheel] = (folder / "wheels").iterdir()
    pip("--python", folder / "venv/bin/python", "install", "--quiet", "--no-deps", "--no-index", wheel)
    for label, (name, face) in enumerate(FACES.items()):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            drawing.picture(face, 64, np.random.default_rng([label, number])).save(
                folder / f"photos/{name}/{number}.png"
            )
    (folder / "photos/cat/broken.png").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def do(home: Path) -> Do:
    """Run a command in a folder below, with that Python first; no clone is to be seen."""
    path = os.pathsep.join([str(home / "venv/bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return lambda folder, *command: run(home / folder, *command, PATH=path, PYTHONPATH="", HOME=str(home))


@pytest.fixture(scope="module")
def birds(home: Path, do: Do) -> Path:
    """A project after its first run, committed and pushed."""
    do(".", "smallset", "init", "birds", "--photos", "photos")
    make_tiny(home / "birds")
    ran = do("birds", "dvc", "repro")
    assert {line.split("'")[1] for line in ran.splitlines() if line.startswith("Running stage")} == STAGES
    do("birds", "dvc", "remote", "add", "--default", "storage", str(home / "storage"))
    do("birds", "git", "add", "--all")
    do("birds", "git", "commit", "--quiet", "--message", "The first run")
    do("birds", "dvc", "push")
    return home / "birds"


def test_a_wheel_brings_what_a_clone_brings(home: Path) -> None:
    script = "from smallset.tools import bringing; print(bringing.record(bringing.code(False), False).digests)"
    [python] = (home / "venv/bin").glob("python3.*")
    done = subprocess.run([python, "-c", script], env={"PATH": ""}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(bringing.record(bringing.code(chapter=False), chapter=False).digests)


def test_the_code_inside_is_what_runs(birds: Path, do: Do) -> None:
    with (birds / "src/smallset/sources/splits.py").open("a") as file:
        file.write("\nprint(__file__)\n")
    assert str(birds / "src/smallset/sources/splits.py") in do("birds", "dvc", "repro", "subset")
    do("birds", "git", "checkout", "--quiet", "src")
    do("birds", "dvc", "repro", "subset")
    assert do("birds", "git", "status", "--porcelain") == ""


def test_what_it_leaves_is_small_and_its_own(birds: Path, do: Do) -> None:
    rows = do("birds", "dvc", "metrics", "show", "--json")
    assert set(json.loads(rows)[""]["data"]) == {f"metrics/{model}.json" for model in MODELS}
    do("birds", "dvc", "plots", "show")
    assert do("birds", "git", "status", "--porcelain") == ""
    left_out = json.loads((birds / "metrics/subset.json").read_text())["left_out"]
    assert [*left_out] == ["cat/broken.png"]
    shared = {path for path in (birds.parent / "storage").rglob("*") if path.is_file()}
    kept = {path.stat().st_ino for path in (birds / "data/larger").iterdir()}
    assert shared
    assert not kept & {path.stat().st_ino for path in (birds / ".dvc/cache").rglob("*")}


def test_a_fresh_clone_without_links_has_all_and_nothing_to_run(birds: Path, do: Do) -> None:
    do(".", "git", "clone", "--quiet", "--config", "core.symlinks=false", "birds", "colleague")
    do("colleague", "dvc", "pull")
    assert "Running stage" not in do("colleague", "dvc", "repro")
    answer = do("colleague", "smallset", "predict", "models/pooled.keras", "photos/dog")
    assert len(answer.splitlines()) == 1 + 12
    assert do("colleague", "git", "status", "--porcelain") == ""
    do("colleague", "dvc", "exp", "run", "--set-param", "pooled.batch=8")
    assert (birds.parent / "colleague/data/larger/train.npy").is_file()  # made again, since pooled needs it
    changed = {line[3:] for line in do("colleague", "git", "status", "--porcelain").splitlines()}
    assert not {path for path in changed if "linear" in path}


def test_a_queued_experiment_leaves_every_file(birds: Path, do: Do) -> None:
    before = {path for path in birds.rglob("*") if not {".dvc", ".git", "__pycache__"} & set(path.parts)}
    do("birds", "dvc", "exp", "run", "--queue", "--set-param", "compare.smoothing=0.5")
    do("birds", "dvc", "exp", "run", "--run-all")
    assert "smoothing" in do("birds", "dvc", "exp", "show", "--csv")
    assert before <= set(birds.rglob("*"))
    assert do("birds", "git", "status", "--porcelain") == ""


def test_an_update_brings_the_code_of_the_smallset_that_is_installed(birds: Path, do: Do) -> None:
    assert "birds: up to date" in do(".", "smallset", "update", "birds")
    [package] = (birds.parent / "venv").rglob("site-packages/smallset")
    for path in ("storage/files.py", "project/stages/side.py", "project/project/dvc.yaml"):
        with (package / path).open("a") as file:
            file.write("# newer\n")
    assert "See git diff, then: dvc repro" in do("birds", "smallset", "update")
    changed = do("birds", "git", "diff", "--name-only").split()
    assert changed == [".smallset.json", "dvc.yaml", "src/smallset/storage/files.py", "stages/side.py"]


def test_a_project_installs_its_own_smallset(birds: Path, home: Path) -> None:
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", home / "own", birds)
    [site] = (home / "own").glob("smallset-*.whl")
    pip("install", "--quiet", "--no-deps", "--target", home / "target", site)
    assert (home / "target/smallset/tools/cli.py").is_file()
    assert (home / "target/smallset/showing/templates/report.html").is_file()
    command = [
        sys.executable,
        "-m",
        "typer",
        "smallset.tools.cli",
        "run",
        "init",
        "x",
        "--photos",
        str(home / "photos"),
    ]
    environment = os.environ | IDENTITY | {"PYTHONPATH": str(home / "target")}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "this smallset is a project's own, and brings nothing into another" in done.stderr
