"""What a crash, a disk or a person can break, broken: `smallset check` names it, and its cure heals it."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dvc.cli import main
from dvc.repo import Repo
from pipelines import IDENTITY
from typer.testing import CliRunner, Result

from smallset.cli import app, checking, locks
from smallset.pipeline import files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what DVC is built on

GRAPH = """
stages:
  copy:
    cmd: mkdir -p data && cp -r photos data/raw
    deps: [photos]
    params: [seed]
    outs: [data/raw]
  train:
    cmd: cat data/raw/cat/*.jpg > model.keras
    deps: [data/raw]
    outs: [model.keras]
  measure:
    cmd: cp model.keras score.json
    deps: [model.keras]
    metrics: [score.json: {cache: false}]
"""
MODEL = "tabbytom"
WELL = "All is as dvc.lock says.\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three stages that copy bytes, with its run committed."""
    folder = tmp_path_factory.mktemp("made") / "project"
    for name, text in {"cat/1.jpg": "tabby", "cat/2.jpg": "tom", "dog/1.jpg": "rex"}.items():
        files.write_text(folder / "photos" / name, text)
    files.write_text(folder / "dvc.yaml", GRAPH)
    files.write_text(folder / "params.yaml", "seed: 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "--quiet")
        with Repo.init() as repo, repo.config.edit("repo") as config:
            config["cache"] = {"type": ["hardlink"]}
        with Repo() as repo:
            repo.add("photos")
            repo.reproduce()
        git("add", "--all")
        git("commit", "--quiet", "--message", "run")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, links included, beside a folder with all objects of its cache."""
    folder = tmp_path / "project"
    subprocess.run(["cp", "-a", made, folder], check=True)
    shutil.copytree(folder / ".dvc/cache", tmp_path / "remote")
    monkeypatch.chdir(folder)
    return folder


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], env=os.environ | IDENTITY, check=True)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app.app, ["check", *arguments])


def healed(place: str) -> None:
    """The check names the place; what it says heals it, with a run where it says so."""
    done = run()
    assert done.exit_code == 1, done.stdout
    assert place in done.stdout
    for _ in range(2):
        cures = dict.fromkeys(fault.cure.split(", or ")[-1] for fault in checking.faults())
        for cure in cures:
            program, *arguments = shlex.split(cure)
            assert main(arguments) == 0 if program == "dvc" else run("--fix").exit_code in (0, 1)
    assert run().stdout == WELL
    with Repo() as repo:
        assert repo.status() == {}
    assert Path("model.keras").read_text() == Path("score.json").read_text() == MODEL


def remote() -> None:
    with Repo() as repo, repo.config.edit("repo") as config:
        config["core"] = {"remote": "away"}
        config["remote"] = {"away": {"url": str(Path("../remote").resolve())}}


def overwritten(path: Path, text: str) -> None:
    """Other bytes of the same length at the same date, in the same inode: what DVC does not see."""
    known = path.stat()
    path.chmod(0o644)
    path.write_text(text)
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    path.chmod(0o444)


def test_a_run_and_what_its_owner_does_are_well(project: Path) -> None:
    assert run().stdout == WELL
    (project / "photos/dog/2.jpg").write_text("new")
    (project / "photos/cat/2.jpg").unlink()
    done = run("--fix")
    assert (done.exit_code, done.stdout) == (0, WELL)
    assert (project / "photos/dog/2.jpg").exists()
    assert not (project / "photos/cat/2.jpg").exists()


def test_a_lock_that_is_cut_anywhere_is_seen_or_lacks_nothing(project: Path) -> None:
    text = (project / "dvc.lock").read_text()
    with Repo() as repo:
        graph = checking.Project(repo).graph
    whole = locks.entries(text)
    assert whole
    silent = 0
    for end in range(len(text)):
        own = locks.entries(text[:end])
        seen = own is None or any(locks.cut(graph, own, whole))
        assert seen or own == whole, text[:end]
        silent += own is not None
    assert silent > 50  # of which DVC takes without a word


@pytest.mark.parametrize("end", [0, "  train:", "md5: ", "    outs:\n    - path: model"])
def test_a_lock_that_is_cut_is_healed_from_git(project: Path, end: int | str) -> None:
    text = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(text[: end if isinstance(end, int) else text.rindex(end) + len(end)])
    healed("dvc.lock: ")
    assert (project / "dvc.lock").read_text() == text


@pytest.mark.parametrize("with_remote", [False, True])
def test_a_damaged_model_is_fetched_or_makes_room_for_a_run(project: Path, with_remote: bool) -> None:
    if with_remote:
        remote()
    with Repo() as repo:
        assert repo.status() == {}  # which it notes, by dates
    overwritten(project / "model.keras", MODEL.upper())  # and so the object in the cache, which is the same file
    with Repo() as repo:
        assert repo.status() == {}  # DVC sees nothing
    assert run("--fix").exit_code == (0 if with_remote else 1)
    if not with_remote:
        healed("model.keras: is not there. Run: dvc repro train")
    assert (project / "model.keras").read_text() == MODEL
    assert [path.read_text() for path in (project / ".dvc/tmp/broken").rglob("model.keras")] == [MODEL.upper()]


def test_a_damaged_photo_comes_from_the_remote_and_no_other_photo_is_touched(project: Path) -> None:
    (project / "photos/dog/2.jpg").write_text("new")
    overwritten(project / "photos/dog/1.jpg", "rax")
    done = run("--fix")
    assert done.exit_code == 1
    assert "nothing has its right bytes" in done.stderr
    assert "photos: has other bytes than dvc.lock says: dog/1.jpg" in run().stdout
    remote()
    done = run("--fix")
    assert (done.exit_code, done.stdout) == (0, WELL), done.stderr
    assert (project / "photos/dog/1.jpg").read_text() == "rex"
    assert (project / "photos/dog/2.jpg").read_text() == "new"


def test_objects_are_made_again_of_results_that_are_well(project: Path) -> None:
    for path in (project / ".dvc/cache/files/md5").glob("*/*"):  # the lists of folders included
        path.chmod(0o644)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1])
    healed("is damaged: expected bytes with the md5")


def test_what_is_gone_is_checked_out_or_made_again(project: Path) -> None:
    shutil.rmtree(project / "data/raw")
    (project / "score.json").unlink()
    healed("data/raw: is not there. Run: dvc checkout data/raw")
    (project / "score.json").write_text("7")
    healed("score.json: has other bytes than dvc.lock says")


def test_a_clone_without_its_data_is_told_how_to_have_them(project: Path) -> None:
    remote()
    for path in ("data/raw", "photos", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(project / path)
    assert "photos: is not there. Run: dvc pull photos\n" in run().stdout
    assert "data/raw: is not there. Run: dvc pull data/raw, or dvc repro copy\n" in run().stdout
    done = run("--fix")
    assert (done.exit_code, done.stdout) == (0, WELL), done.stderr


def test_a_cache_of_other_photos_makes_room(project: Path) -> None:
    for place in ("metrics/subset/train.csv", "data/larger/train.csv"):
        files.write_text(project / place, "file,label,digest\na/1.jpg,a,1\nb/1.jpg,b,2\n")
    np.save(project / "data/larger/train.npy", np.zeros((2, 1, 1, 3), np.float16))
    assert run().stdout == WELL
    np.save(project / "data/larger/train.npy", np.zeros((3, 1, 1, 3), np.float16))
    assert "data/larger/train.npy: expected a row for each of the 2 photos" in run().stdout
    assert run("--fix").stdout == WELL
    assert not (project / "data/larger/train.npy").exists()


@pytest.mark.usefixtures("project")
def test_elsewhere_and_beside_another_process_it_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with checking.opened():
        done = run()
    assert done.exit_code == 2
    assert "lock" in done.stderr
    monkeypatch.chdir(tmp_path)
    done = run()
    assert done.exit_code == 2
    assert "not inside of a DVC repository" in done.stderr
