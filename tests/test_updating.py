"""`smallset update`: newer code comes in, what the user has changed stays, and git shows it all."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from projects import create, draw, identify, run

from smallset.cli import bringing, updating
from smallset.pipeline.errors import SmallsetError

FIRST, LAST = "# From photos to a model", "    outs: [plots/model-card.md, plots/report.html]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project, as init has left it."""
    home = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        identify(patch)
        for name in ("cat", "dog"):
            draw(home / "photos" / name, 5)
        create(home / "mine", home / "photos")
        yield home / "mine"


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    identify(monkeypatch)
    return Path(shutil.copytree(made, tmp_path / "mine"))


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What a newer smallset brings, to be changed."""
    brought = bringing.code(chapter=False)
    monkeypatch.setattr(bringing, "code", lambda _: brought)
    return brought


def edit(project: Path, path: str, old: str, new: str) -> None:
    """A change of the user's, committed."""
    text = (project / path).read_text()
    assert text.count(old) == 1
    (project / path).write_text(text.replace(old, new))
    run(project, "git", "commit", "--quiet", "--all", "--message", "mine")


def changed(project: Path) -> set[str]:
    return {line[3:] for line in run(project, "git", "status", "--porcelain").splitlines()}


def test_corrections_stay_and_an_older_project_gets_an_empty_file(project: Path) -> None:
    path = project / "corrections.csv"
    header = path.read_text()
    path.write_text(f"{header}{'0' * 64},cat/1.jpg,keep,,,suspects\n")
    before = path.read_bytes()
    assert updating.update(project) == f"{project}: up to date"
    assert path.read_bytes() == before
    path.unlink()
    assert "corrections.csv: is new, for what smallset review decides" in updating.update(project)
    assert path.read_text() == header


def test_the_same_smallset_brings_nothing(project: Path) -> None:
    edit(project, "dvc.yaml", FIRST, "# Mine")
    assert updating.update(project) == f"{project}: up to date"
    assert changed(project) == set()


def test_untouched_files_become_the_new_ones_and_the_user_s_own_stay(project: Path, newer: dict[str, bytes]) -> None:
    (project / "stages/mine.py").write_text("# mine\n")
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "--message", "mine")
    newer["stages/side.py"] += b"# newer\n"
    newer["stages/added.py"] = b"# added\n"
    newer["requirements.lock"] = b"newer\n"
    del newer["stages/audit.py"]
    said = updating.update(project)
    assert said.endswith("See git diff, then: dvc repro")
    expected = {"stages/side.py", "stages/added.py", "requirements.lock", "stages/audit.py", ".smallset.json"}
    assert changed(project) == expected
    assert (project / "stages/side.py").read_bytes() == newer["stages/side.py"]
    assert not (project / "stages/audit.py").exists()
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "--quiet", "--message", "update")
    assert updating.update(project) == f"{project}: up to date"


def test_both_changes_of_a_file_are_merged(project: Path, newer: dict[str, bytes]) -> None:
    edit(project, "dvc.yaml", FIRST, "# Mine")
    newer["dvc.yaml"] = newer["dvc.yaml"].replace(LAST.encode(), b"    outs: [plots/newer.md]\n")
    said = updating.update(project)
    text = (project / "dvc.yaml").read_text()
    assert text.startswith("# Mine")
    assert text.endswith("    outs: [plots/newer.md]\n")
    assert "dvc.yaml" not in said.replace(str(project), "")


def test_where_both_changes_meet_it_says_so(project: Path, newer: dict[str, bytes]) -> None:
    edit(project, "dvc.yaml", LAST, "    outs: [plots/mine.md]\n")
    newer["dvc.yaml"] = newer["dvc.yaml"].replace(LAST.encode(), b"    outs: [plots/newer.md]\n")
    assert "dvc.yaml: your change and smallset's meet: edit the lines between" in updating.update(project)
    text = (project / "dvc.yaml").read_text()
    assert "<<<<<<<" in text
    assert "mine.md" in text
    assert "newer.md" in text


def test_a_file_that_was_edited_before_it_was_committed_stays_and_the_new_one_lies_beside(
    project: Path, newer: dict[str, bytes]
) -> None:
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace(FIRST, "# Mine"))
    run(project, "git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    newer["dvc.yaml"] = newer["dvc.yaml"].replace(LAST.encode(), b"    outs: [plots/newer.md]\n")
    assert "dvc.yaml: smallset's has changed, and so has yours, which stays" in updating.update(project)
    assert (project / "dvc.yaml").read_text().startswith("# Mine")
    assert (project / "dvc.yaml.new").read_bytes() == newer["dvc.yaml"]


def test_a_file_that_smallset_drops_and_the_user_has_changed_stays(project: Path, newer: dict[str, bytes]) -> None:
    edit(project, "stages/audit.py", '"""8.2.2', '"""Mine')
    del newer["stages/audit.py"]
    assert "stages/audit.py: smallset has it no longer; yours stays" in updating.update(project)
    assert (project / "stages/audit.py").read_text().startswith('"""Mine')


def test_params_keep_their_values_and_comments_and_get_new_keys(
    project: Path, newer: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(project, "params.yaml", "epochs: 6\n", "epochs: 9  # mine\n")
    text = bringing.params(chapter=False).replace("  epochs: 6\n", "  epochs: 5\n  shallow: null         # new\n")
    text = (
        text.replace("  smoothing: 0            # of", "  strength: 0             # of")
        + "\nadded:\n  one: 1  # of it\n"
    )
    monkeypatch.setattr(bringing, "params", lambda _: text)
    newer["stages/side.py"] += b"# newer\n"
    said = updating.update(project)
    own: Any = yaml.safe_load((project / "params.yaml").read_text())
    assert own == yaml.safe_load(text) | {"pooled": yaml.safe_load(text)["pooled"] | {"epochs": 9}}
    lines = [
        line for line in run(project, "git", "diff", "-U0", "params.yaml").splitlines() if line[:2] in ("+ ", "- ")
    ]
    assert [line.split()[1] for line in lines if line[0] == "+"] == ["shallow:", "strength:", "one:"]
    assert "# mine" in (project / "params.yaml").read_text()
    assert "# new" in (project / "params.yaml").read_text()
    assert "params.yaml: pooled: shallow: is new (None)" in said
    assert "params.yaml: compare: smoothing: is gone (it was 0)" in said


def test_code_that_is_not_committed_is_not_replaced(project: Path) -> None:
    (project / "stages/side.py").write_text("# mine\n")
    with pytest.raises(SmallsetError, match=r"expected all code to be committed; not so are\n M stages/side.py"):
        updating.update(project)
    assert (project / "stages/side.py").read_text() == "# mine\n"


def test_another_folder_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(SmallsetError, match="expected a project that smallset init made, found no .smallset.json"):
        updating.update(tmp_path)
