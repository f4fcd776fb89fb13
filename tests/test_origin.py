"""A stage runs its own project's smallset or none; commands and other people's scripts run whichever they find."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smallset.pipeline import origin

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("own/stages", "own/src/smallset", "other/src/smallset", "other/bin"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_the_project_s_own_code_runs_also_by_another_way_to_it(project: Path) -> None:
    (project / "link").symlink_to(project / "own")
    origin.check(project / "own/src/smallset", project / "own/stages/convnet.py")
    origin.check(project / "own/src/smallset", project / "link/stages/convnet.py")


def test_where_starting_again_does_not_help_it_stops_with_the_cure(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(project / "own/src"))
    with pytest.raises(SystemExit, match=r'convnet: this would run the smallset in .*other.*pip install -e ".*own"'):
        origin.check(project / "other/src/smallset", project / "own/stages/convnet.py")


@pytest.mark.parametrize("script", ["other/bin/smallset", "elsewhere/stages/mine.py"])
def test_what_is_no_stage_of_smallset_s_is_let_alone(project: Path, script: str) -> None:
    origin.check(project / "other/src/smallset", project / script)


def test_a_project_runs_its_own_code_whichever_smallset_is_installed(tmp_path: Path) -> None:
    installed, copy = tmp_path / "src", tmp_path / "birds"
    for source, name in ((installed, "installed"), (copy / "src", "copied")):
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        with (source / "smallset/storage/files.py").open("a") as file:
            file.write(f"\nNAME = {name!r}\n")
    (copy / "stages").mkdir()
    (copy / "stages/x.py").write_text(
        "import sys\nfrom smallset.storage import files\nprint(files.NAME, sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "stages/x.py", "convnet"],
        cwd=copy,
        env=os.environ | {"DVC_STAGE": "x", "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "copied ['convnet']\n", done.stderr
