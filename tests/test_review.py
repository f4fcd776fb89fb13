"""The page on which photos are put right: who may ask, what it asks, and that no decision is lost."""

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import made
import pandas as pd
import pytest
import trying
import yaml
from pipelines import Pipeline

from smallset.datasets import corrections, lists, synthetic
from smallset.pipeline import files, stage
from smallset.pipeline.errors import SmallsetError

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")
testclient = pytest.importorskip("starlette.testclient")

from smallset.web import queues, review, server, thumbnails  # noqa: E402

PORT, TOKEN = 8124, "token"
OWN = {"origin": f"http://127.0.0.1:{PORT}"}
ODD = "<img src=x onerror=alert(1)>"


def results(folder: Path) -> None:
    """What a pipeline leaves: suspects, pairs, what is unlike, mistakes, what is left out; a name is markup."""
    made.data(folder, 6)
    for number, split in enumerate(made.SPLITS):
        synthetic.draw(folder / "data/subset" / split, 6, 48, seed=number)
    shutil.copytree(folder / "data/subset/train", folder / "photos")
    (folder / "photos/cat/cat.666.jpg").write_bytes(b"no photo")
    train = folder / "data/subset/train/dog"
    (train / "dog.5.jpg").rename(train / f"{ODD}.jpg")
    for split in made.SPLITS:
        found = lists.digested(lists.find(folder / "data/subset" / split))
        files.write_csv(folder / f"metrics/subset/{split}.csv", found.table())
    table = pd.DataFrame({"file": ["cat/cat.0.jpg", "dog/dog.0.jpg", "dog/dog.1.jpg"], "actual": ["cat", "dog", "dog"]})
    table = table.assign(predicted=["dog", "dog", "cat"], probability=[0.7, 0.9, 0.99])
    files.write_csv(folder / "metrics/pooled/predictions.csv", table)
    unlike = {"split": "train", "file": f"dog/{ODD}.jpg", "class": "dog", "unlikeness": 2, "unlike": True}
    files.write_csv(folder / "metrics/pooled/unlike.csv", pd.DataFrame([unlike]))
    files.write_csv(folder / "metrics/compare.csv", pd.DataFrame([{"model": "pooled", "val_loss": 0.1}]))
    (folder / "dvc.yaml").write_text("stages:\n  subset: {cmd: python stages/subset.py photos}\n")


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("left")
    results(folder)
    return folder


@pytest.fixture
def desk(left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> review.Desk:
    shutil.copytree(left, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.setattr(stage, "graph", lambda: yaml.safe_load(Path("dvc.yaml").read_text())["stages"])
    return review.Desk()


@pytest.fixture
def client(desk: review.Desk) -> Any:
    app = server.application(review.routes(desk, "mine"), PORT, TOKEN)
    client = testclient.TestClient(app, base_url=f"http://127.0.0.1:{PORT}")
    client.get(f"/?token={TOKEN}")
    return client


def digest(file: str, split: str = "train") -> str:
    return files.sha256(Path("data/subset") / split / file)


def decide(client: Any, which: str, decision: str, label: str = "", queue: str = "suspects") -> Any:
    sent = {"queue": queue, "decisions": [{"digest": which, "decision": decision, "label": label}]}
    return client.post("/decide", json=sent, headers=OWN)


def asked(client: Any, key: str) -> list[list[str]]:
    found: list[list[str]] = client.get("/queue", params={"key": key}).json()
    return found


def test_the_queues_are_what_the_stages_have_left_the_most_useful_first(client: Any) -> None:
    album = client.get("/album").json()
    counts = {key: count for key, _, count in album["queues"]}
    expected = {"suspects": 1, "two-splits": 4, "twice": 2, "unlike": 1, "flagged": 1, "mistakes": 2, "left-out": 1}
    assert [*counts.items()] == [*expected.items(), ("decided", 0)]
    assert [name for _, name, _ in album["classes"]] == ["cat", "dog"]
    assert album["keys"] == {"cat": "1", "dog": "2"}
    [suspect] = asked(client, "suspects")
    assert (suspect[0], suspect[2]) == (digest("cat/cat.0.jpg"), "dog")
    first, second, *_ = asked(client, "two-splits")
    assert first[3] == second[0] != first[0] == second[3]
    assert [one[0] for one in asked(client, "mistakes")] == [
        digest(f, "test") for f in ("dog/dog.1.jpg", "cat/cat.0.jpg")
    ]
    assert "does not decode" in asked(client, "left-out")[0][1]
    assert len(asked(client, "class:cat")) == 18
    about = client.get("/photos", params={"of": f"{digest('cat/cat.0.jpg', 'test')},unknown"}).json()
    [told] = about.values()
    assert told == {
        "file": "cat/cat.0.jpg",
        "label": "cat",
        "split": "test",
        "says": ["pooled: dog 0.700"],
        "decided": None,
    }


def test_the_worst_of_each_flag_comes_first() -> None:
    rows = [
        ("a", 0.2, 0.1, 1, 0),
        ("b", 0.9, 0.8, 0, 1),
        ("c", 0.1, 0.1, 1, 0),
        ("d", 0.9, 0.9, 0, 1),
        ("e", 0.3, 0.5, 1, 1),
    ]
    flagged = pd.DataFrame(rows, columns=["file", "luminance", "blur", "dark", "blurred"])
    flagged = flagged.astype({"dark": bool, "blurred": bool})
    assert [*queues.worst(flagged)["file"]] == ["c", "d", "a", "b", "e"]


def test_what_another_thread_has_read_before_brings_no_old_decision_back(
    desk: review.Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"digest": digest("cat/cat.0.jpg"), "decision": "keep", "label": ""}
    stale = desk.known
    desk.decide("suspects", [one])
    version = review.version

    def meanwhile() -> tuple[int, ...] | None:
        desk.known = stale
        return version()

    monkeypatch.setattr(review, "version", meanwhile)
    assert [*desk.decided()] == [one["digest"]]


def test_a_decision_is_a_row_is_not_asked_again_and_is_undone_to_the_byte(client: Any) -> None:
    one, before = digest("cat/cat.0.jpg"), corrections.FILE
    assert decide(client, one, "keep").json() == [{"digest": one, "decision": "", "label": ""}]
    kept = before.read_bytes()
    assert kept.startswith(b"digest,file,decision,label,when,queue\n" + one.encode() + b",cat/cat.0.jpg,keep,,2")
    assert asked(client, "suspects") == []
    assert [row[0] for row in asked(client, "decided")] == [one]
    [back] = decide(client, one, "relabel", "dog").json()
    assert corrections.read(before)[one].label == "dog"
    assert client.post("/decide", json={"queue": "twice", "decisions": [back]}, headers=OWN).status_code == 200
    assert before.read_bytes() == kept
    decide(client, one, "")
    assert corrections.read(before) == {}
    assert len(asked(client, "suspects")) == 1


def test_two_windows_and_another_program_lose_no_decision(desk: review.Desk) -> None:
    digests = [*desk.album.photos]
    with ThreadPoolExecutor(4) as pool:
        others = [review.Desk(), desk]
        wanted = [[{"digest": one, "decision": "keep", "label": ""}] for one in digests]
        list(pool.map(lambda pair: others[pair[0] % 2].decide("x", pair[1]), enumerate(wanted)))
    assert {*corrections.read(corrections.FILE)} == {*digests}
    assert not list(Path().glob(".part.*"))


def test_a_kill_in_the_middle_of_a_write_loses_that_decision_alone(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(client, digest("cat/cat.0.jpg"), "keep")
    before = corrections.FILE.read_bytes()

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "put", killed)
        review.Desk().decide("x", [{"digest": digest("cat/cat.1.jpg"), "decision": "keep", "label": ""}])
    assert corrections.FILE.read_bytes() == before
    assert decide(client, digest("cat/cat.1.jpg"), "keep").status_code == 200


def test_what_is_no_decision_is_refused_and_changes_nothing(client: Any) -> None:
    one = digest("cat/cat.0.jpg")
    for sent, words in (
        ((one, "relabel", "../x"), "cannot be a label"),
        ((one, "relabel", "Dog"), "another class in other letters"),
        ((one, "relabel"), "no decision"),
        ((one, "keep", "dog"), "no decision"),
        ((one, "burn"), "no decision"),
        (("0" * 64, "keep"), "other photos now"),
    ):
        answer = decide(client, *sent)
        assert answer.status_code == 409
        assert words in answer.text
    for content in (b"", b"[]", b"{}", b'{"queue": 1}', b'{"queue": "a", "decisions": [1]}'):
        assert client.post("/decide", content=content, headers=OWN).status_code == 409
    assert not corrections.FILE.exists()
    corrections.FILE.write_text("mine\n")
    assert "corrections.csv: line 1: expected the columns" in decide(client, one, "keep").text
    assert corrections.FILE.read_text() == "mine\n"
    with pytest.raises(SmallsetError, match="line 1"):
        review.Desk()


def test_nobody_else_asks_and_no_path_leaves_the_photos(client: Any) -> None:
    one = digest("cat/cat.0.jpg")
    sent = {"queue": "x", "decisions": [{"digest": one, "decision": "keep", "label": ""}]}
    assert client.post("/decide", json=sent).status_code == 403  # no Origin
    assert client.post("/decide", json=sent, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/album", headers={"host": "evil.example"}).status_code == 403
    for way in ("%2e%2e%2f%2e%2e%2fparams.yaml", "..%2f..%2fparams.yaml", "0" * 64, "cat/cat.0.jpg"):
        for kind in ("thumbnail", "photo"):
            assert client.get(f"/{kind}/{way}").status_code in (403, 404), way
    client.cookies.clear()
    for address in ("/", "/album", "/queue?key=suspects", f"/photos?of={one}", f"/thumbnail/{one}", f"/photo/{one}"):
        assert client.get(address).status_code == 403
    assert not corrections.FILE.exists()


def test_pictures_are_made_here_once_and_a_name_is_never_markup(client: Any) -> None:
    page = client.get("/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", page.text)
    one = digest(f"dog/{ODD}.jpg")
    assert client.get("/photos", params={"of": one}).json()[one]["file"] == f"dog/{ODD}.jpg"
    first = client.get(f"/thumbnail/{one}")
    assert (first.headers["content-type"], first.content[:2]) == ("image/jpeg", b"\xff\xd8")
    shutil.rmtree("data/subset/train/dog")
    assert client.get(f"/thumbnail/{one}").content == first.content
    assert client.get(f"/photo/{one}").status_code == 409  # in words
    [broken] = [row[0] for row in asked(client, "left-out")] or [""]
    assert "does not decode" in client.get(f"/thumbnail/{broken}").text


def test_thumbnails_take_no_more_than_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.draw(tmp_path / "photos", 4, 48, seed=0)
    monkeypatch.setattr(thumbnails, "EVERY", 2)
    monkeypatch.setattr(thumbnails, "MOST", 1)
    kept = thumbnails.Thumbnails(tmp_path / "kept")
    for number in range(4):
        kept.of(f"{number:064}", tmp_path / f"photos/cat/cat.{number}.jpg")
    assert not list((tmp_path / "kept").rglob("*.jpg"))


def test_where_one_was_is_known_after_a_restart_and_new_results_are_seen(client: Any) -> None:
    where = {"queue": "unlike", "digest": "0" * 64}
    assert client.post("/place", json=where, headers=OWN).status_code == 204
    assert review.Desk().opened()["place"] == where
    files.write_csv(Path("metrics/suspects.csv"), results_without_doubt())
    assert "suspects" not in [key for key, _, _ in client.get("/album").json()["queues"]]
    review.PLACE.write_text("{")
    assert client.get("/album").json()["place"] == {"queue": "", "digest": ""}
    assert review.keys(["0", "1", "9"]) == {"0": "0", "1": "1", "9": "9"}


def results_without_doubt() -> pd.DataFrame:
    return pd.read_csv("metrics/suspects.csv").assign(probability=0.9)


@contextmanager
def running(name: str) -> Iterator[str]:
    """The address, with its token, of the page of the pipeline in this folder."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            server.application(review.routes(review.Desk(), name), port, TOKEN),
            log_level="error",
            lifespan="off",
            ws="none",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/?token={TOKEN}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The stage `subset` alone, over drawn photos, and suspects as another stage would leave them."""
    pipeline = Pipeline(tmp_path)
    graph = yaml.safe_load((tmp_path / "dvc.yaml").read_text().replace("data/raw", "photos"))
    graph = {"vars": [{"root": "."}], "stages": {"subset": graph["stages"]["subset"]}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(graph))
    (tmp_path / ".gitignore").write_text("/photos\n/data\n")
    document = yaml.safe_load((tmp_path / "params.yaml").read_text())
    document["subset"] = {"by": "fraction", "train": 0.6, "validation": 0.2, "test": 0.2}
    pipeline.write_params(document)
    synthetic.draw(tmp_path / "photos", 30, 48, seed=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "graph", lambda: graph["stages"])
    return pipeline


@pytest.mark.slow
def test_from_the_first_suspect_to_dvc_repro_in_a_browser(pipeline: Pipeline) -> None:
    pipeline.run("dvc", "repro")
    pipeline.commit("the first run")
    train = lists.rows(Path("metrics/subset/train.csv"))
    doubted = train.head(4).assign(split="train", suspected="dog", probability=[0.1, 0.2, 0.3, 0.4])
    files.write_csv(Path("metrics/suspects.csv"), doubted.drop(columns="digest"))
    first, second, third, fourth = doubted["digest"]

    def decided() -> dict[str, tuple[str, str]]:
        return {key: (one.decision, one.label) for key, one in corrections.read(corrections.FILE).items()}

    def waits(tab: Any, words: str) -> None:
        tab.get_by_role("status").filter(has_text=words).wait_for()

    with running("mine") as address, trying.page() as tab:
        tab.on("pageerror", lambda error: pytest.fail(str(error)))
        tab.goto(address)
        waits(tab, "4 left")
        for key in "sxk":  # faster than they are saved: each is for the next photo
            tab.keyboard.press(key)
        waits(tab, "1 left")
        expected = {first: ("relabel", "dog"), second: ("leave out", ""), third: ("keep", "")}
        assert decided() == expected
        tab.keyboard.press("u")
        waits(tab, "2 left")
        tab.reload()  # undoing goes on, and what is decided is not asked again
        waits(tab, "2 left")
        assert tab.get_by_role("option", name="cat/cat").count() == 2
        tab.keyboard.press("u")
        waits(tab, "3 left")
        assert decided() == {first: ("relabel", "dog")}
        tab.keyboard.press("l")
        tab.keyboard.type("dog")
        tab.keyboard.press("Enter")
        waits(tab, "2 left")
        tab.keyboard.press("Control+a")
        tab.keyboard.press("x")
        waits(tab, "Nothing left")
        for width in (390, 1280):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
    out = ("leave out", "")
    assert decided() == {first: ("relabel", "dog"), second: out, third: out, fourth: out}
    before = pipeline.run("git", "status", "--porcelain")
    assert " M corrections.csv" in before
    assert "data/" not in before
    answer = pipeline.run("dvc", "repro")
    assert "corrections.csv: 1 relabelled, 3 left out, 0 kept as they are" in answer
    record = json.loads(Path("metrics/subset.json").read_text())
    assert record["corrections"]["photos"]["train"] == {"relabelled": 1, "left_out": 3}
    pipeline.run("git", "checkout", "corrections.csv")
    pipeline.run("dvc", "repro")
    assert pipeline.run("git", "diff", "--stat", "metrics", "dvc.lock") == ""
