"""`smallset check` names what a crash, a disk or a person has damaged, and its commands repair it."""

import io
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import projects
import pytest
import typer
import yaml
from dvc.cli import main
from filelock import FileLock
from typer.testing import CliRunner, Result

from smallset.cli import check
from smallset.pipeline import dvc_lock, files
from smallset.pipeline.errors import SmallsetError

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
    matrix: {model: [a]}
    cmd: cp model.keras score-${item.model}.json
    deps: [model.keras]
    metrics: ["score-${item.model}.json": {cache: false}]
"""
MODEL = "tabbytom"
GOOD = "All files are as dvc.lock says.\n"

EDITED = "photos: differs from photos.dvc ({}), and the next dvc repro uses it as it is. "
EDITED += "After git switch, run: dvc checkout\n"

app = typer.Typer()
app.command()(check.check)


def dvc(*arguments: str, check: bool = True) -> str:
    """Replaces check._run_dvc: the same in this process, without the second that DVC's imports take."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setenv("DVC_TEST", "1")  # or else DVC's JSON goes to the stdout that it found when it was imported
        code = main(list(arguments))
    assert code == 0 or not check, errors.getvalue()
    return output.getvalue()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three stages that copy bytes, with its run committed."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    for name, text in {"cat/1.jpg": "tabby", "cat/2.jpg": "tom", "dog/1.jpg": "rex"}.items():
        files.write_text(folder / "photos" / name, text)
    files.write_text(folder / "dvc.yaml", GRAPH)
    files.write_text(folder / "params.yaml", "seed: 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        projects.run(folder, "git", "init", "--quiet")
        dvc("init", "--quiet")
        dvc("config", "cache.type", "hardlink")
        dvc("add", "photos")
        dvc("repro")
        projects.run(folder, "git", "add", "--all")
        projects.run(folder, "git", "commit", "--quiet", "--message", "run")
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, links included, beside a folder with all objects of its cache."""
    folder = tmp_path / "project"
    subprocess.run(["cp", "-a", finished, folder], check=True)
    shutil.copytree(folder / ".dvc/cache", tmp_path / "remote")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(check, "_run_dvc", dvc)
    dvc("status", "--quiet")  # DVC notes the dates of the files
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def repair_as_told(path: str) -> None:
    """The command names the path; the commands that it gives repair it."""
    report = run()
    assert report.exit_code == 1, report.stdout
    assert path in report.stdout
    for repaired in (False, True, True):
        for command in dict.fromkeys(problem.command for problem in check.find_problems(repaired)):
            program, *arguments = shlex.split(command)
            dvc(*arguments) if program == "dvc" else run("--fix")
    assert run().stdout == GOOD
    assert dvc("status", "--json").strip() == "{}"
    assert Path("model.keras").read_text() == Path("score-a.json").read_text() == MODEL


def add_remote() -> None:
    dvc("remote", "add", "--default", "away", str(Path("../remote").resolve()))


def overwrite(path: Path, text: str) -> None:
    """Write other bytes of the same length and date into the same inode, which DVC does not notice."""
    status = path.stat()
    path.chmod(0o644)
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.chmod(0o444)


def test_a_run_is_good_and_so_is_what_the_owner_does(project: Path) -> None:
    assert run().stdout == GOOD
    (project / "photos/dog/2.jpg").write_text("new")
    (project / "photos/cat/2.jpg").unlink()
    (project / "photos/cat/1.jpg").unlink()
    (project / "photos/cat/1.jpg").write_text("siam")
    report = EDITED.format("1 added, 1 deleted, 1 edited")
    assert [run(*option).stdout for option in ([], ["--fix"])] == [report, report]
    assert (project / "photos/dog/2.jpg").exists()
    assert (project / "photos/cat/1.jpg").read_text() == "siam"
    assert not (project / "photos/cat/2.jpg").exists()
    dvc("repro")
    assert run().stdout == GOOD


def test_a_lock_that_is_cut_anywhere_is_noticed(project: Path) -> None:
    text = (project / "dvc.lock").read_text()
    complete = dvc_lock.parse(text) or {}
    accepted = 0
    for end in range(0, len(text), 7):
        (project / "dvc.lock").write_text(text[:end])
        lock = dvc_lock.parse(text[:end])
        lost = lock is None or [*check._Check().check_lock()]
        assert lost or (lock or {}).keys() == complete.keys(), text[:end]  # of the last number, digits may be lost
        accepted += lock is not None
    assert accepted > 7  # DVC reads these without an error


@pytest.mark.parametrize("end", [0, "  train:", "md5: ", "    outs:\n    - path: model"])
def test_a_lock_that_is_cut_is_restored_from_git(project: Path, end: int | str) -> None:
    text = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(text[: end if isinstance(end, int) else text.rindex(end) + len(end)])
    repair_as_told("dvc.lock: ")
    assert yaml.safe_load((project / "dvc.lock").read_text()) == yaml.safe_load(text)


def test_a_graph_that_somebody_edits_is_no_damage(project: Path) -> None:
    (project / "dvc.yaml").write_text(GRAPH.replace("params: [seed]", "params: [seed, size]"))
    (project / "params.yaml").write_text("seed: 1\nsize: 2\n")
    assert run().stdout == GOOD


@pytest.mark.parametrize("with_remote", [False, True])
def test_a_damaged_model_is_fetched_or_makes_room_for_a_run(project: Path, with_remote: bool) -> None:
    if with_remote:
        add_remote()
    overwrite(project / "model.keras", MODEL.upper())  # and the object in the cache, which is the same file
    assert dvc("status", "--json").strip() == "{}"
    assert run("--fix").exit_code == (not with_remote)
    if not with_remote:
        repair_as_told("model.keras: is missing. Run: dvc repro train")
    assert (project / "model.keras").read_text() == MODEL
    assert [path.read_text() for path in (project / ".dvc/tmp/broken").rglob("model.keras")] == [MODEL.upper()]


def test_a_damaged_photo_comes_from_the_remote_and_no_other_photo_is_touched(project: Path) -> None:
    (project / "photos/dog/2.jpg").write_text("new")
    overwrite(project / "photos/dog/1.jpg", "rax")
    done = run("--fix")
    assert done.exit_code == 1
    assert "nothing has its right bytes" in done.stderr
    assert (project / "photos/dog/1.jpg").read_text() == "rax"
    assert "photos/dog/1.jpg: has other bytes than DVC noted" in run().stdout
    add_remote()
    done = run("--fix")
    assert done.stdout == EDITED.format("1 added"), done.stderr
    assert (project / "photos/dog/1.jpg").read_text() == "rex"
    assert (project / "photos/dog/2.jpg").read_text() == "new"


def test_damaged_objects_are_replaced_by_outputs_that_are_right(project: Path) -> None:
    for path in (project / ".dvc/cache/files/md5").glob("*/*"):  # the lists of folders included
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1])
    repair_as_told("is damaged: expected bytes with the md5")


def test_missing_outputs_are_restored_or_made_again(project: Path) -> None:
    shutil.rmtree(project / "data/raw")
    (project / "score-a.json").unlink()
    repair_as_told("data/raw: is missing. Run: smallset check --fix")
    (project / "score-a.json").write_text("7")
    repair_as_told("score-a.json: has other bytes than dvc.lock says")


def test_a_clone_without_its_data_gets_them(project: Path) -> None:
    add_remote()
    for path in ("data/raw", "photos", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(project / path)
    report = run().stdout
    assert "photos: is missing. Run: smallset check --fix\n" in report
    assert "data/raw: is missing. Run: smallset check --fix\n" in report
    done = run("--fix")
    assert (done.exit_code, done.stdout) == (0, GOOD), done.stderr


def test_what_a_killed_run_left_is_moved_away_but_no_checkpoint(project: Path) -> None:
    for name in (".part.params.yaml", "photos/cat/.part.old.3.jpg", ".part.model.keras"):
        (project / name).write_text("half")
    checkpoint = files.draft_path(project / "model.npz")
    (project / "model.keras").rename(checkpoint)
    assert run().stdout.count("is what a killed run left. Run: smallset check --fix\n") == 3
    assert checkpoint.exists()
    assert run("--fix").stdout == ".part.model.npz: is what a killed run left. Run: smallset check --fix\n"  # now it is
    assert run("--fix").stdout == GOOD


@pytest.mark.parametrize("content", ["", '{"write": {"/x": {"pid": 1', '{"write": {"/x": 1}}'])
def test_notes_of_dvc_that_a_crash_has_cut_do_not_stop_runs(project: Path, content: str) -> None:
    path = project / ".dvc/tmp/rwlock"
    path.write_text(content)
    with pytest.raises(AssertionError):
        dvc("repro")
    assert run().stdout == (
        ".dvc/tmp/rwlock: is not complete, as after a crash, and stops every dvc repro. Run: smallset check --fix\n"
    )
    assert run("--fix").stdout == GOOD
    dvc("repro")


@pytest.mark.parametrize("path", ["model.keras", "score-a.json", "photos"])
def test_an_edited_checksum_is_not_blamed_on_the_file(project: Path, path: str) -> None:
    text = (project / "dvc.lock").read_text()
    start = text.index("md5: ", text.index(f"- path: {path}")) + len("md5: ")
    (project / "dvc.lock").write_text(f"{text[:start]}{'1' if text[start] == '0' else '0'}{text[start + 1 :]}")
    inode = (project / path).stat().st_ino
    repair_as_told("has other checksums than git's last commit, which those files have: ")
    assert (project / "dvc.lock").read_text() == text
    assert (project / path).stat().st_ino == inode


def test_decisions_and_data_that_no_run_can_read_are_named(project: Path) -> None:
    (project / "corrections.csv").write_text("mine\n")
    report = run().stdout
    assert report.startswith("corrections.csv: line 1: expected the columns sha256")
    assert report.endswith("or restore it: git checkout corrections.csv\n")
    for graph in ("", "stages: [", GRAPH[:-30]):
        (project / "dvc.yaml").write_text(graph)
        with pytest.raises(
            SmallsetError, match=r"^dvc.yaml: not a complete graph. Correct the file, or restore it: git"
        ):
            check.find_problems()
    (project / "dvc.yaml").write_text(GRAPH)
    (project / "photos.dvc").write_text("outs:\n- md5: 1")
    with pytest.raises(SmallsetError, match=r"^photos.dvc: not complete, as after a crash. Run: git checkout photos.d"):
        check.find_problems()


def test_it_needs_no_lock_and_does_not_judge_what_a_run_changes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileLock(project / ".dvc/tmp/lock"):
        assert run().stdout == GOOD
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", "dvc", "repro"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        (project / ".dvc/tmp/lock").write_text(f" {process.pid}\n")
        (project / "model.keras").unlink()
        for repaired in (check.find_problems, lambda: [*check.repair()]):
            with pytest.raises(SmallsetError, match=f"DVC runs here .process {process.pid}. and changes files. Wait"):
                repaired()
        process.communicate(b"")
    monkeypatch.setattr(check._Check, "check_owned", lambda _: [(project / "dvc.lock").rename("old")])
    with pytest.raises(SmallsetError, match="DVC has changed files in the meantime"):
        check.find_problems()


@pytest.mark.usefixtures("project")
def test_elsewhere_and_beside_a_running_dvc_it_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".dvc/tmp/rwlock").write_text(f'{{"write": {{"/x": {{"pid": {os.getpid()}, "cmd": "dvc repro"}}}}}}')
    with pytest.raises(SmallsetError, match=f"DVC runs here .process {os.getpid()}."):
        check.find_problems()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SmallsetError, match="expected a project"):
        check.find_problems()
