"""A stage runs its own project's smallset or none; commands and other people's scripts run whichever they find."""

from pathlib import Path

import pytest

from smallset.pipeline import origin


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("own/stages", "own/src/smallset", "other/src/smallset", "other/bin"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_the_project_s_own_code_runs_also_by_another_way_to_it(project: Path) -> None:
    (project / "link").symlink_to(project / "own")
    origin.check(project / "own/src/smallset", project / "own/stages/convnet.py")
    origin.check(project / "own/src/smallset", project / "link/stages/convnet.py")


def test_another_project_s_code_stops_with_the_cure(project: Path) -> None:
    with pytest.raises(SystemExit, match=r'convnet: this would run the smallset in .*other.*pip install -e ".*own"'):
        origin.check(project / "other/src/smallset", project / "own/stages/convnet.py")


@pytest.mark.parametrize("script", ["other/bin/smallset", "elsewhere/stages/mine.py"])
def test_what_is_no_stage_of_smallset_s_is_let_alone(project: Path, script: str) -> None:
    origin.check(project / "other/src/smallset", project / script)
