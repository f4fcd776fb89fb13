"""The page to check photos: its queues, that no decision is lost, and the page in a browser."""

import errno
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import browser
import fabricate
import pandas as pd
import pytest

from smallset.datasets import corrections, prepare
from smallset.pipeline import files, params
from smallset.pipeline.errors import SmallsetError
from smallset.reports.results import Results
from smallset.web import queues, review

NAME = "<img src=x onerror=alert(1)>"
CAT, DOG = "photos/cat/cat.0.jpg", "photos/dog/dog.1.jpg"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    fabricate.project(folder)
    return folder


@pytest.fixture
def page(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> review.Review:
    """The page of a project in the current folder."""
    shutil.copytree(project, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return review.Review()


@pytest.fixture
def client(page: review.Review) -> Any:
    return browser.open_client(review.make_routes(page, "copy"))


def decide(client: Any, sha256: str, decision: str, label: str = "", queue: str = "label-issues") -> Any:
    row = {"sha256": sha256, "decision": decision, "label": label}
    return client.post("/decide", json={"queue": queue, "decisions": [row]})


def read_queue(client: Any, key: str) -> list[list[str]]:
    items: list[list[str]] = client.get("/queue", params={"key": key}).json()
    return items


def digest(file: str) -> str:
    return files.sha256(Path(file))


def test_the_queues_come_from_the_tables_the_most_useful_first(client: Any) -> None:
    album = client.get("/album").json()
    counts = {key: count for key, _, count in album["queues"]}
    results = Results(Path())
    predictions, unknown = (results.table(f"fine_tuned/{name}") for name in ("predictions", "unknown"))
    mistakes, flagged = predictions[predictions.actual != predictions.predicted], unknown[unknown.unknown].file
    expected = {"label-issues": 1, "across-splits": 3, "within-split": 2, "unknown": 1 + len(flagged), "quality": 2}
    assert [*counts.items()] == [*(expected | {"mistakes": len(mistakes), "left-out": 1, "decided": 0}).items()]
    assert album["keys"] == {"cat": "1", "dog": "2"}
    reason = "A model that was not trained on it predicts dog."
    assert read_queue(client, "label-issues") == [[digest(CAT), reason, "dog", ""]]
    copy, first, second = read_queue(client, "across-splits")
    assert copy[1] == "The same file as photos/cat/cat.35.jpg: a decision holds for both."
    assert first[1] == "nearly the same picture, mirrored: photos/cat/cat.35.jpg (test)"
    assert first[::3] == second[::-3] == [digest("photos/cat/cat.1.jpg"), copy[0]]
    assert [row[0] for row in read_queue(client, "unknown")] == [digest("photos/dog/dog.6.jpg"), *map(digest, flagged)]
    quality = [(digest(DOG), "It is dark and blurry."), (digest("photos/dog/dog.2.jpg"), "It is blurry.")]
    assert [(sha256, words) for sha256, words, *_ in read_queue(client, "quality")] == quality
    assert "does not decode" in read_queue(client, "left-out")[0][1]
    assert len(read_queue(client, "class:cat")) == 35  # two files are equal
    details = client.get("/photos", params={"of": f"{digest(CAT)},unknown"}).json()[digest(CAT)]
    words, *models = details.pop("predictions")
    assert details == {"file": CAT, "label": "cat", "split": "train", "decision": None}
    assert words == "label quality 0.027: the probability that cat is right"
    assert [re.sub("(cat|dog) 0.*", "", text) for text in models] == [f"{model}: " for model in fabricate.PROJECT]


def test_only_the_split_stage_is_needed(client: Any) -> None:
    for path in [*Path("metrics").iterdir()]:
        if path.name not in ("photos.csv", "split.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert [key for key, _, _ in client.get("/album").json()["queues"]] == ["left-out", "decided"]
    Path("metrics/photos.csv").unlink()
    assert "expected a table of photos" in client.get("/album").text


def test_a_decision_is_saved_removes_the_item_and_can_be_undone(client: Any) -> None:
    photo, file = digest(CAT), corrections.FILE
    assert decide(client, photo, "keep").json() == [{"sha256": photo, "decision": "", "label": ""}]
    kept = file.read_bytes()
    assert kept.startswith(b"sha256,file,decision,label,when,queue\n" + f"{photo},{CAT},keep,,2".encode())
    assert read_queue(client, "label-issues") == []
    assert [row[0] for row in read_queue(client, "decided")] == [photo]
    [previous] = decide(client, photo, "relabel", "dog").json()
    assert corrections.read(file)[photo].label == "dog"
    assert client.post("/decide", json={"queue": "quality", "decisions": [previous]}).status_code == 200
    assert file.read_bytes() == kept
    decide(client, photo, "")
    assert corrections.read(file) == {}
    assert len(read_queue(client, "label-issues")) == 1


def test_the_label_that_a_photo_has_is_kept_and_no_correction_is_lost(client: Any, page: review.Review) -> None:
    photo = digest(CAT)

    def write(decision: str, label: str = "") -> tuple[str, str]:
        decide(client, photo, decision, label)
        row = corrections.read(corrections.FILE)[photo]
        return row.decision, row.label

    assert write("relabel", "cat") == ("keep", "")
    assert write("relabel", "dog") == ("relabel", "dog")
    assert write("keep") == ("keep", "")
    write("relabel", "dog")
    page.album.photos[photo] = page.album.photos[photo]._replace(label="dog")  # after dvc repro
    assert write("keep") == write("relabel", "dog") == ("relabel", "dog")
    assert write("leave out") == ("leave out", "")
    assert write("keep") == ("relabel", "dog")  # its folder is cat
    assert write("relabel", "cat") == ("relabel", "cat")


def test_two_windows_lose_no_decision(page: review.Review) -> None:
    pages, photos = [page, review.Review()], [*page.album.photos]

    def keep(number: int) -> None:
        decision = {"sha256": photos[number], "decision": "keep", "label": ""}
        pages[number % 2].decide("quality", [decision])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, range(len(photos))))
    assert {*corrections.read(corrections.FILE)} == {*page.corrections()} == {*photos}
    assert not list(Path().glob(".part.*"))


def test_an_invalid_decision_is_refused_and_changes_nothing(client: Any) -> None:
    photo = digest(CAT)
    for arguments, words in (
        ((photo, "relabel", "../x"), "cannot be a label"),
        ((photo, "relabel", "Dog"), "another spelling"),
        ((photo, "relabel"), "not a valid decision"),
        ((photo, "keep", "dog"), "not a valid decision"),
        ((photo, "burn"), "not a valid decision"),
        (("0" * 64, "keep"), "photos of the pipeline have changed"),
    ):
        answer = decide(client, *arguments)
        assert answer.status_code == 409
        assert words in answer.text
    for content in (b"", b"[]", b"{}", b'{"queue": 1}', b'{"queue": "a", "decisions": [1]}'):
        assert client.post("/decide", content=content).status_code == 409
    assert not corrections.FILE.exists()
    corrections.FILE.write_text("mine\n")
    assert "corrections.csv: line 1: expected the columns" in decide(client, photo, "keep").text
    assert corrections.FILE.read_text() == "mine\n"
    with pytest.raises(SmallsetError, match="line 1"):
        review.Review()


def test_nobody_else_can_read_and_no_path_comes_from_outside(client: Any) -> None:
    photo = digest(CAT)
    for kind in ("thumbnail", "photo"):
        for path in ("%2e%2e%2f%2e%2e%2fparams.yaml", "..%2f..%2fparams.yaml", "0" * 64, CAT):
            assert client.get(f"/{kind}/{path}").status_code == 404
    client.cookies.clear()
    for path in ("/", "/album", "/queue?key=quality", f"/photos?of={photo}", f"/thumbnail/{photo}", f"/photo/{photo}"):
        assert client.get(path).status_code == 403
    assert decide(client, photo, "keep").status_code == 403
    assert not corrections.FILE.exists()


def test_names_are_never_markup_and_thumbnails_are_kept(
    client: Any, page: review.Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    html = client.get("/")
    assert "script-src 'self'" in html.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", html.text)
    photo = digest(DOG)
    page.album.photos[photo] = page.album.photos[photo]._replace(file=f"photos/{NAME}")
    Path(DOG).rename(f"photos/{NAME}")
    assert client.get("/photos", params={"of": photo}).json()[photo]["file"] == f"photos/{NAME}"
    first = client.get(f"/thumbnail/{photo}")
    assert (first.headers["content-type"], first.content[:2]) == ("image/jpeg", b"\xff\xd8")
    Path(f"photos/{NAME}").unlink()
    assert client.get(f"/thumbnail/{photo}").content == first.content
    assert client.get(f"/photo/{photo}").status_code == 409  # with the reason
    assert "does not decode" in client.get(f"/thumbnail/{read_queue(client, 'left-out')[0][0]}").text
    monkeypatch.setattr(review, "MAX_BYTES", 1)
    review.remove_thumbnails()
    assert client.get(f"/thumbnail/{photo}").status_code == 409


def test_the_position_is_kept_and_new_results_are_read(client: Any) -> None:
    position = {"queue": "unknown", "sha256": "0" * 64}
    assert client.post("/position", json=position).status_code == 204
    assert review.Review().overview()["position"] == position
    labels = pd.read_csv("metrics/label_issues.csv")
    files.write_csv(Path("metrics/label_issues.csv"), labels[:0])
    assert "label-issues" not in [key for key, _, _ in client.get("/album").json()["queues"]]
    review.POSITION.write_text("{")
    assert client.get("/album").json()["position"] == {"queue": "", "sha256": ""}
    assert review.assign_digits(["0", "1", "9"]) == {"0": "0", "1": "1", "9": "9"}


def fill_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_queue_says_when_hardly_any_decision_changes_something() -> None:
    photos = {f"{row:064x}": queues.Photo(f"{row}.jpg", "cat", "train") for row in range(90)}
    album = queues.Album(photos, {}, [queues.Queue("label-issues", "", [queues.Item(key, "") for key in photos])])

    def decide(changes: list[int], queue: str = "label-issues") -> dict[str, corrections.Correction]:
        decisions = [corrections.LEAVE_OUT if change else corrections.KEEP for change in changes]
        times = [f"2026-01-01T12:{row:02}:00Z" for row in range(len(changes))]
        rows = zip(photos, decisions, times, strict=False)
        return {key: corrections.Correction(key, "", decision, "", when, queue) for key, decision, when in rows}

    expected = "At this rate, about 3 of the 50 photos left need a change: go to the next queue."
    advice = album.advise("label-issues", decide([1] * 10 + [0] * 28 + [1] * 2))
    assert advice == f"2 of the last 30 decisions here changed something. {expected}"
    for changes in ([0] * 29, [0] * 27 + [1] * 3):  # too few decisions, and enough changes
        assert album.advise("label-issues", decide(changes)) == ""
    assert album.advise("label-issues", decide([0] * 40, "mistakes")) == ""


@pytest.mark.slow
def test_of_many_classes_people_search_for_one(page: review.Review, monkeypatch: pytest.MonkeyPatch) -> None:
    album = page.album
    more = {f"{row:064x}": queues.Photo(f"{row}.jpg", f"class {row}", "train") for row in range(60)}
    monkeypatch.setattr(review, "_read_album", lambda _: album._replace(photos=album.photos | more))
    with browser.run(review.make_routes(page, "copy")) as address, browser.open_page() as tab:
        tab.goto(address)
        tab.get_by_role("status").filter(has_text="left").wait_for()
        search = tab.get_by_label("or the class")
        search.fill("class 7")
        search.press("Enter")
        tab.get_by_role("status").filter(has_text="1 photos").wait_for()
        tab.get_by_role("option", name="7.jpg, labeled class 7").wait_for()
        search.fill("class 99")
        search.press("Enter")
        tab.get_by_role("status").filter(has_text="There is no class class 99.").wait_for()


@pytest.mark.slow
def test_from_the_first_label_issue_to_corrected_photos_in_a_browser(page: review.Review) -> None:
    photos = Results(Path()).dataset.table.query("label == 'cat' and split == 'train'")[1:5]
    issues = photos[["file", "split", "label"]].rename(columns={"label": "given_label"})
    issues = issues.assign(predicted_label="dog", label_quality=[0.1, 0.2, 0.3, 0.4])
    files.write_csv(Path("metrics/label_issues.csv"), issues)
    first, second, third, fourth = photos["sha256"]

    def decisions() -> dict[str, tuple[str, str]]:
        return {key: (row.decision, row.label) for key, row in corrections.read(corrections.FILE).items()}

    def wait(tab: Any, words: str) -> None:
        tab.get_by_role("status").filter(has_text=words).wait_for()

    def count(tab: Any) -> str:
        return tab.locator("#queues option:checked").text_content()

    with browser.run(review.make_routes(page, "copy")) as address, browser.open_page() as tab:
        tab.goto(address)
        wait(tab, "4 left")
        for key in "sxk":  # faster than decisions are saved: each one is about the next photo
            tab.keyboard.press(key)
        wait(tab, "1 left")
        assert decisions() == {first: ("relabel", "dog"), second: ("leave out", ""), third: ("keep", "")}
        tab.keyboard.press("u")
        wait(tab, "2 left")
        assert count(tab) == "Label issues (2)"
        tab.reload()  # the steps to undo are kept, and decided photos are not shown again
        wait(tab, "2 left")
        assert tab.get_by_role("option", name="cat/cat").count() == 2
        tab.keyboard.press("u")
        wait(tab, "3 left")
        assert count(tab) == "Label issues (3)"
        assert decisions() == {first: ("relabel", "dog")}
        tab.keyboard.press("1")  # the digit of its own label
        wait(tab, "2 left")
        assert decisions() == {first: ("relabel", "dog"), second: ("keep", "")}
        tab.keyboard.press("u")
        wait(tab, "3 left")
        tab.keyboard.press("l")
        tab.keyboard.type("dog")
        tab.keyboard.press("Enter")
        wait(tab, "2 left")
        tab.evaluate("sessionStorage.setItem('other', 'x'.repeat(5 * 1024 * 1024 - 300))")  # almost full
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(corrections, "write", fill_disk)
            tab.keyboard.press("x")
            wait(tab, "This decision is not saved. The disk is full")
        tab.keyboard.press("Control+a")
        tab.keyboard.press("x")
        wait(tab, "Nothing is left")
        tab.keyboard.press("u")
        wait(tab, "2 left")
        tab.keyboard.press("Control+a")
        tab.keyboard.press("x")
        wait(tab, "Nothing is left")
        browser.assert_fits(tab)
    out = ("leave out", "")
    assert decisions() == {first: ("relabel", "dog"), second: out, third: out, fourth: out}
    split = params.Split(by="fraction", train=0.6, validation=0.2, test=0.2, exclude=[])
    _, record = prepare.prepare(Path("photos"), None, split, seed=0)
    assert sum(counts["left_out"] for counts in record["corrections"].values()) == 3
    assert sum(counts["relabeled"] for counts in record["corrections"].values()) == 1
