"""The page for the whole workflow: photos become a project, jobs survive the page, and a browser does it all."""

import errno
import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import browser
import fabricate
import numpy as np
import pandas as pd
import projects
import pytest
from PIL import Image

from smallset.cli import export_formats, init
from smallset.datasets import corrections, folders, splits
from smallset.datasets.dataset import SPLITS, Dataset
from smallset.pipeline import params, stage
from smallset.pipeline.errors import SmallsetError
from smallset.web import jobs, server, ui, uploads


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder without a project."""
    monkeypatch.chdir(tmp_path)  # and back, because the page changes the folder
    projects.identify(monkeypatch)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    yield tmp_path
    jobs.cancel()  # of a test that failed


@pytest.fixture
def client(home: Path) -> Any:
    """A client of the page of a new project, `birds`."""
    ui.open_folder(home / "birds")
    return browser.open_client(ui.make_routes())


@pytest.fixture
def project(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a project with two classes, which DVC does not track."""
    for number, name in enumerate(("heron", "wren")):
        projects.draw(home / "files" / name, 20, seed=number)
    with monkeypatch.context() as patch:
        projects.skip_dvc(patch)
        init.create(home / "birds", home / "files", None)
    monkeypatch.chdir(home / "birds")
    return home / "birds"


def upload(client: Any, path: str, content: bytes) -> tuple[int, str]:
    response = client.post("/upload", params={"path": path}, content=content)
    return response.status_code, response.json()["file"] if response.status_code == 200 else response.text


def draw(seed: int) -> bytes:
    """The bytes of a small JPEG."""
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(content, "JPEG")
    return content.getvalue()


def list_files(folder: str = "photos") -> list[str]:
    return sorted(path.as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_uploads_replace_no_file_and_the_same_photo_is_stored_once(client: Any) -> None:
    first, second = draw(0), draw(1)
    assert upload(client, "heron/a.jpg", first) == (200, "photos/heron/a.jpg")
    assert upload(client, "heron/a.jpg", first) == (200, "")
    assert upload(client, "heron/a.jpg", second) == (200, "photos/heron/a-2.jpg")
    assert upload(client, "heron/a.jpg", second) == (200, "")
    assert upload(client, "HERON/b.jpg", first) == (200, "photos/heron/b.jpg")
    assert upload(client, "he\u0301ron/a.jpg", first) == (200, "photos/h\u00e9ron/a.jpg")
    assert upload(client, "test/wren/<b>&.jpg", first) == (200, "photos/test/wren/<b>&.jpg")
    assert Path("photos/heron/a-2.jpg").read_bytes() == second
    assert Path("photos/heron/a.jpg").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("heron/a.jpg", b"no photo", "does not decode as a photo"),
        ("heron/a.jpg", draw(0)[:300], "does not decode as a photo"),
        ("heron/a.jpg", b"", "does not decode as a photo"),
        ("a.jpg", draw(0), "in no class folder"),
        ("", draw(0), "in no class folder"),
        ("../heron/a.jpg", draw(0), "hidden"),
        ("heron/../../a.jpg", draw(0), "hidden"),
        ("/heron/a.jpg", draw(0), "not every system allows this name"),
        ("heron/.a.jpg", draw(0), "hidden"),
        ("heron/a\n.jpg", draw(0), "not every system allows this name"),
        (f"heron/{'a' * 250}.jpg", draw(0), "not every system allows this name"),
    ],
)
def test_other_files_are_skipped_with_the_reason(client: Any, path: str, content: bytes, reason: str) -> None:
    status, words = upload(client, path, content)
    assert (status, words.count("\n")) == (422, 0)
    assert reason in words
    assert "data/ui" not in words
    assert list_files(".") == []


def test_a_full_disk_loses_nothing_and_says_so(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(client, "heron/a.jpg", draw(0))

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads, "store", fail)
    status, words = upload(client, "heron/b.jpg", draw(1))
    assert (status, words.startswith("The disk is full")) == (409, True)
    assert list_files() == ["photos/heron/a.jpg"]
    assert [*jobs.FOLDER.iterdir()] == []


def test_recordings_are_groups_and_three_of_a_class_are_in_all_splits(client: Any) -> None:
    for label in ("heron", "wren"):
        for number in range(6):
            folder = client.post("/recording", json={"name": label}).json()
            for picture in range(3):
                upload(client, f"{folder}/{picture}.jpg", draw(number * 100 + picture + 50 * (label == "wren")))
            if number == 2:
                assert {*read_splits(label)["split"]} == {*SPLITS}
    upload(client, "wren/a.jpg", draw(9))
    table = read_splits("wren")
    assert table[table["group"] != ""].groupby("group")["split"].nunique().eq(1).all()
    assert table.loc[table["file"] == "wren/a.jpg", "group"].tolist() == [""]
    counts = table[table["group"] != ""].drop_duplicates("group")["split"].value_counts().to_dict()
    assert counts == {"train": 4, "validation": 1, "test": 1}
    assert client.post("/recording", json={"name": "../x"}).status_code == 409


def read_splits(label: str) -> pd.DataFrame:
    """The photos of a class with the splits that a new project will give them."""
    if len([*Path("photos").glob("*/")]) < 2:
        (Path("photos/robin")).mkdir(exist_ok=True)
        shutil.copyfile(next(Path(f"photos/{label}").rglob("*.jpg")), "photos/robin/a.jpg")
    dataset, _ = folders.read_folder(Path("photos"))
    p = params.new_project()
    table = dataset.table.assign(sha256=dataset.table["file"])
    return table.assign(split=splits.draw_splits(table, p.split.shares, p.seed))[table["label"] == label]


def test_a_project_with_a_table_of_labels_gets_its_photos_in_a_terminal(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("table: null", "table: labels.csv"))
    client = browser.open_client(ui.make_routes())
    status, reason = upload(client, "heron/a.jpg", draw(0))
    assert (status, reason.startswith("the labels are in labels.csv")) == (422, True)
    assert client.post("/recording", json={"name": "heron"}).status_code == 409


def wait_until(condition: Any) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def describe(key: str) -> Any:
    return (jobs.describe() or {}).get(key)


@pytest.mark.usefixtures("home")
def test_a_job_is_known_to_every_server_and_runs_once() -> None:
    assert jobs.describe() is None
    jobs.start("sh", "-c", "echo begun; sleep 60")
    wait_until(lambda: describe("log") == "begun")
    with pytest.raises(SmallsetError, match="sleep 60' is running"):
        jobs.start("true")
    assert describe("result") == "running"
    jobs.cancel()
    wait_until(lambda: describe("result") != "running")
    assert describe("log") == "begun"
    for command, result in (("true", "done"), ("false", "failed"), ("kill -9 $PPID", "interrupted")):
        jobs.start("sh", "-c", command)
        wait_until(lambda: describe("result") != "running")
        assert describe("result") == result
    Path(jobs.RECORD).write_text("{")
    assert jobs.describe() is None


def test_the_stages_of_a_run_in_a_terminal_are_shown(project: Path) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    old = {"ended": "2020-01-01T00:00:00+00:00", "seconds": 100}
    runs = [{"stage": name, **old} for name in stage.declarations()] + [{"stage": "split", "ended": now, "seconds": 2}]
    jobs.FOLDER.mkdir(parents=True)
    stage.LOG.write_text("".join(f"{json.dumps(run)}\n" for run in runs))
    (script := project.parent / "dvc").write_text("import time; time.sleep(60)")
    with subprocess.Popen([sys.executable, str(script), "repro"]) as process:
        entry = {"pid": process.pid, "cmd": "/usr/bin/dvc repro"}
        jobs.LOCKED.parent.mkdir(parents=True, exist_ok=True)
        jobs.LOCKED.write_text(json.dumps({"write": {str(project / "data/features.npz"): entry}, "read": {}}))
        job = jobs.describe() or {}
        jobs.LOCKED.write_text("{}")  # between two stages
        assert describe("result") == "running"
        with pytest.raises(SmallsetError, match="is running"):
            ui.keep_run("Results")
        process.kill()
    assert describe("result") == "ended"
    names = [row["name"] for row in job["stages"]]
    assert names.index("evaluate@linear_probe") < names.index("fine_tune") < names.index("evaluate@fine_tuned")
    statuses = {row["name"]: row["status"] for row in job["stages"]}
    assert statuses == dict.fromkeys(stage.declarations(), "waiting") | {"split": "done", "features": "running"}
    assert 690 < job["remaining"] <= 700
    jobs.LOCKED.write_text('{"write": {"x": {"pid": ')
    assert describe("result") == "ended"


@pytest.mark.usefixtures("project")
def test_the_time_budget_is_one_word_in_params_yaml() -> None:
    before = Path("params.yaml").read_text()
    client = browser.open_client(ui.make_routes())
    assert ui.describe()["minutes"] == 10
    assert client.post("/minutes", json={"minutes": "25"}).status_code == 200
    assert Path("params.yaml").read_text() == before.replace("minutes: 10", "minutes: 25")
    assert client.post("/minutes", json={"minutes": "0"}).status_code == 409
    assert client.post("/minutes", json={"minutes": "x"}).status_code == 409
    assert client.post("/minutes", json={"minutes": 5}).status_code == 409


def test_the_history_has_the_commits_with_results_and_keeps_the_next(project: Path) -> None:
    client = browser.open_client(ui.make_routes())
    assert client.post("/keep", json={"message": ""}).text == "Nothing has changed since the last commit."
    assert client.post("/runs", json={}).json() == {"runs": [], "changed": [], "message": "Photos"}
    fabricate.project(home := project.parent / "fabricated")
    shutil.copytree(home / "metrics", "metrics")
    history = client.post("/runs", json={}).json()
    assert history["changed"] == ["?? metrics/"]
    assert "95 % interval" in history["message"]
    assert client.post("/keep", json={"message": "--amend"}).status_code == 200
    [run] = client.post("/runs", json={}).json()["runs"]
    assert (run["subject"], run["result"]) == ("--amend", history["message"])
    assert run["revision"] in client.post("/diff", json={"revision": run["revision"]}).json()
    assert client.post("/diff", json={"revision": "--help"}).status_code == 409


@pytest.mark.usefixtures("project")
def test_the_report_is_shown_without_scripts_and_only_exports_are_downloaded() -> None:
    client = browser.open_client(ui.make_routes())
    Path("plots").mkdir()
    ui.REPORT.write_text("<h1>Report</h1>")
    report = client.get("/report")
    assert report.text == "<h1>Report</h1>"
    assert "sandbox" in report.headers["content-security-policy"]
    assert "script" not in report.headers["content-security-policy"]
    (ui.EXPORTS / "page_web").mkdir(parents=True)
    (ui.EXPORTS / "page_web/index.html").write_text("page")
    (ui.EXPORTS / "model.onnx").write_bytes(b"model")
    (ui.EXPORTS / ".part.model.onnx").write_bytes(b"part")
    assert client.get("/exports/model.onnx").content == b"model"
    with zipfile.ZipFile(io.BytesIO(client.get("/exports/page_web").content)) as archive:
        assert archive.read("page_web/index.html") == b"page"
    for name in (".part.model.onnx", "..%2f..%2fparams.yaml", "nothing"):
        assert client.get(f"/exports/{name}").status_code == 404
    assert client.post("/export", json={"format": "exe"}).status_code == 409
    assert {name: export_formats.FORMATS[name].suffix for name in ui.SUFFIXES} == ui.SUFFIXES
    for path in ("/review/", "/try/"):
        assert "Run: dvc repro" in client.get(path).text or "expected" in client.get(path).text
    client.cookies.clear()
    for path in ("/", "/events", "/report", "/exports/model.onnx", "/review/", "/try/"):
        assert client.get(path).status_code == 403
    assert upload(client, "heron/a.jpg", draw(0))[0] == 403


def test_photos_that_wait_stay_and_an_empty_folder_does_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ui.open_folder(home)
    client = browser.open_client(ui.make_routes())
    assert (Path.cwd(), ui.describe()["name"]) == (home / "new-my-photos", "my-photos")
    client.post("/class", json={"name": "heron"})
    upload(client, "heron/a.jpg", draw(0))
    for name in ("", "a/b", ".."):
        assert client.post("/create", json={"name": name}).status_code == 409
    monkeypatch.setattr(server, "serve", lambda *_: None)
    ui.run(home, False)
    assert list_files(str(home)) == [f"{home}/new-my-photos/photos/heron/a.jpg"]
    Path("photos/heron/a.jpg").unlink()
    ui.run(home, False)
    assert not (home / "new-my-photos").exists()


def wait_for_job(page: Any, command: str) -> None:
    page.locator("#job-title", has_text=f"{command}").filter(has_text=": done").wait_for(
        state="attached", timeout=400_000
    )


def check_accessibility(page: Any) -> None:
    """No rule of axe is violated, in light and in dark, and nothing is wider than a phone."""
    for scheme in ("light", "dark") if browser.read_axe() else ():
        page.emulate_media(color_scheme=scheme)
        page.evaluate(browser.read_axe())
        violations = page.evaluate("axe.run(document, {iframes: false}).then((results) => results.violations)")
        assert violations == [], violations
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_two_windows_the_keyboard_and_an_accessible_page(home: Path) -> None:
    projects.draw(home / "files/heron", 3)
    projects.draw(home / "files/wren", 3, seed=1)
    ui.open_folder(home / "birds")
    with browser.run(ui.make_routes()) as address, browser.open_page() as tab:
        second = tab.context.new_page()
        for window in (tab, second):
            window.goto(address)
        tab.bring_to_front()
        browser.select_folder(tab, home / "files")
        second.get_by_role("heading", name="wren").wait_for()
        tab.focus("#class-name")
        tab.keyboard.type("<b>&robin")
        tab.keyboard.press("Enter")
        second.get_by_role("heading", name="<b>&robin").wait_for()
        tab.focus("#camera")
        tab.keyboard.press("Enter")
        button = tab.get_by_role("button", name="Hold to record wren")
        button.focus()
        tab.keyboard.down(" ")
        tab.wait_for_timeout(600)
        tab.keyboard.up(" ")
        second.locator("#classes li", has_text="1 recording").wait_for()
        tab.locator("#record-wren:focus").wait_for()  # although the list was drawn again
        for name in ("Photos", "Train", "Results", "Export", "History"):
            link = tab.get_by_role("link", name=name)
            link.focus()
            tab.keyboard.press("Enter")
            tab.get_by_role("heading", name=name, exact=True).wait_for()
            assert link.get_attribute("aria-current") == "page"
            check_accessibility(tab)
    assert sorted(path.name for path in Path("photos/wren").iterdir()) == ["0.jpg", "1.jpg", "2.jpg", "recording 1"]
    if not browser.read_axe():
        pytest.skip(f"accessibility is not checked: npm cannot fetch {browser.AXE}")


@pytest.mark.slow
def test_from_an_empty_page_to_a_kept_model_in_a_browser(home: Path) -> None:
    projects.draw(home / "files/wren", 30)
    (home / "files/wren/notes.txt").write_text("no photo")
    ui.open_folder(home / "birds")
    with browser.run(ui.make_routes()) as address, browser.open_page() as tab:
        tab.goto(address)
        browser.select_folder(tab, home / "files/wren")
        tab.locator("#skipped-files", has_text="wren/notes.txt: does not decode").wait_for(state="attached")
        for name in ("heron", "robin"):
            tab.fill("#class-name", name)
            tab.press("#class-name", "Enter")
            tab.get_by_role("heading", name=name).wait_for()
        tab.click("#camera")
        browser.record(tab, "heron", 4)
        browser.record(tab, "robin", 4)
        tab.click("#create button")
        wait_for_job(tab, "smallset init")
        assert Path.cwd() == home / "birds"
        projects.shrink(Path())
        tab.get_by_role("button", name="Train", exact=True).click()
        wait_for_job(tab, "dvc repro")
        tab.locator("#result", has_text="accuracy 0.").wait_for()
        tab.frame_locator("#report").get_by_role("heading", name="What to look at").wait_for()
        check_accessibility(tab)
        tab.get_by_role("link", name="Review", exact=True).click()
        tab.get_by_role("status").filter(has_text="left").wait_for()
        check_accessibility(tab)
        tab.select_option("#queues", "class:heron")
        tab.get_by_role("status").filter(has_text="photos").wait_for()
        tab.get_by_label("Another label").fill("robin")
        tab.keyboard.press("Enter")
        tab.locator("#undo:enabled").wait_for()
        assert len(corrections.read(corrections.FILE)) == 1
        tab.get_by_role("link", name="Train").click()
        tab.get_by_role("button", name="Train", exact=True).click()
        tab.locator("#stages .done", has_text="split").wait_for(timeout=60_000)
        tab.reload()  # the run goes on
        tab.get_by_role("button", name="Cancel").click()
        tab.locator("#job-title", has_text="dvc repro: interrupted").wait_for()
        tab.get_by_role("button", name="Train", exact=True).click()
        wait_for_job(tab, "dvc repro")
        tab.get_by_role("link", name="Try", exact=True).click()
        tab.locator("#files:enabled").wait_for(timeout=200_000)
        tab.set_input_files("#files", home / "files/wren/0.jpg")
        [prediction] = browser.read_predictions(tab, 1).values()
        assert set(prediction["probabilities"]) == {"heron", "robin", "wren"}
        check_accessibility(tab)
        tab.get_by_role("link", name="Export").click()
        tab.get_by_role("button", name="ONNX").click()
        wait_for_job(tab, "smallset export")
        with tab.expect_download() as download:
            tab.locator("#exports a").click()
        assert Path(download.value.path()).stat().st_size > 1e6
        tab.get_by_role("link", name="History").click()
        tab.get_by_label("Message").fill("Birds")
        tab.get_by_role("button", name="Keep this run").click()
        tab.locator("#runs li", has_text="Birds").wait_for()
        check_accessibility(tab)
    assert "Data and pipelines are up to date" in projects.run(Path(), "dvc", "status")
    assert projects.run(Path(), "git", "status", "--porcelain") == ""
    table = Dataset.read().table
    assert table[table["group"] != ""].groupby("group")["split"].nunique().max() == 1
    assert not (home / "new-birds").exists()
