"""The page to try a model: who may ask, what it answers, and how it goes in a browser."""

import base64
import contextlib
import io
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import trying
from PIL import Image
from typer.testing import CliRunner

from smallset.cli import app, prediction
from smallset.datasets import lists, synthetic
from smallset.models import limits, model_file

pytest.importorskip("starlette")
testclient = pytest.importorskip("starlette.testclient")

from smallset.web import demo, server  # noqa: E402

PORT, TOKEN = 8123, "token"
OWN = {"origin": f"http://127.0.0.1:{PORT}"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that knows its limits."""
    folder = tmp_path_factory.mktemp("model")
    synthetic.draw(folder / "drawn", 5, 80, seed=0)
    return networks.limited(folder / "pooled.keras", lists.digested(lists.find(folder / "drawn")))


@pytest.fixture(scope="module")
def known(model: Path) -> demo.Known:
    return demo.known(model)


@pytest.fixture
def client(known: demo.Known) -> Any:
    """Who has opened the address with the token."""
    app = server.application(demo.routes("pooled", known), PORT, TOKEN)
    client = testclient.TestClient(app, base_url=f"http://127.0.0.1:{PORT}")
    client.get(f"/?token={TOKEN}")
    return client


def asked(client: Any, content: bytes, name: str = "a.jpg") -> Any:
    return client.post("/answer", params={"name": name}, content=content, headers=OWN)


def test_the_answer_is_what_predict_says(client: Any, model: Path, tmp_path: Path) -> None:
    ends = limits.needed(model)
    about = prediction.Asked(ends, coverage=0.95)
    network, classes = model_file.classifier(model)
    paths = trying.photos(tmp_path / "photos")
    for said in prediction.answers(network, map(str, paths), 8, limits=ends):
        given = asked(client, Path(said.path).read_bytes()).json()
        found = {one["name"]: one["probability"] for one in given["labels"]}
        assert [*found] == [name for name, _ in prediction.best(said, classes, 2)]
        np.testing.assert_allclose([found[name] for name in classes], said.probability, atol=1e-6)
        assert given["unlike"] == about.told(said, classes)["unlike"]
        assert given["possible"] == about.possible(said, classes)
        photo, heat = (Image.open(io.BytesIO(base64.b64decode(one["jpeg"]))) for one in given["pictures"])
        assert photo.size == heat.size
        assert max(photo.size) <= demo.SIDE
        assert given["pictures"][1]["caption"].partition(":")[0] in ("Grad-CAM", "HiResCAM")


def test_what_is_no_photo_has_one_line_that_says_so(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(whole, "JPEG")
    huge = io.BytesIO()
    Image.new("1", (10_000, 9_001)).save(huge, "PNG")
    cases = {
        b"": "it is empty",
        b"<svg onload=alert(1)>": "as no format of photos does",
        whole.getvalue()[:300]: "does not decode as a photo",
        huge.getvalue(): "90,010,000 pixels, of which at most 90,000,000",
    }
    for content, words in cases.items():
        answer = asked(client, content)
        assert (answer.status_code, answer.text.count("\n")) == (422, 0)
        assert words in answer.text
        assert tempfile.gettempdir() not in answer.text
    assert "a RAW file" in asked(client, whole.getvalue(), "../../<b>.NEF").text
    monkeypatch.setattr(demo, "LARGEST", 100)
    assert asked(client, whole.getvalue()).text == "This file is too large: at most 0 MB are read."


def test_nobody_else_gets_an_answer(client: Any) -> None:
    assert client.post("/answer", content=b"").status_code == 403  # no Origin
    assert client.post("/answer", content=b"", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    client.cookies.clear()
    assert asked(client, b"").status_code == 403
    assert client.get("/").status_code == 403


def test_a_model_without_limits_says_so_and_classes_are_text(tmp_path: Path) -> None:
    name = '<b onclick="x">'
    model_file.save(networks.convnet(78, 3), tmp_path / "m.keras", (name, "b", "c"))
    app = server.application(demo.routes("m", demo.known(tmp_path / "m.keras")), PORT, TOKEN)
    client = testclient.TestClient(app, base_url=f"http://127.0.0.1:{PORT}")
    client.get(f"/?token={TOKEN}")
    page = client.get("/").text
    assert "&lt;b onclick=" in page
    assert name not in page
    assert "file does not tell which photos are unlike" in " ".join(page.split())
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    given = asked(client, picture.getvalue()).json()
    assert (given["unlike"], given["possible"]) == (None, None)


def test_without_the_extra_the_cure_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("smallset.web.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys.modules["smallset.web"], "demo", None, raising=False)
    monkeypatch.delattr(sys.modules["smallset.web"], "demo")
    monkeypatch.delattr(sys.modules["smallset.web"], "serving")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = CliRunner().invoke(app.app, ["demo", str(model)])
    assert done.exit_code == 2
    assert 'pip install "smallset[web]"' in done.stderr


@contextlib.contextmanager
def running(known: demo.Known) -> Iterator[str]:
    """The address, with its token, of the page."""
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = server.application(demo.routes("pooled", known), port, TOKEN)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{port}/?token={TOKEN}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.slow
def test_photos_are_chosen_dropped_and_taken_in_a_browser(known: demo.Known, tmp_path: Path) -> None:
    photos = [path for path in trying.photos(tmp_path / "photos") if path.name in ("<b>&.jpg", "turned-6.jpg")]
    (tmp_path / "broken.jpg").write_bytes(photos[0].read_bytes()[:200])
    with running(known) as address, trying.page() as tab:
        tab.on("pageerror", lambda error: pytest.fail(str(error)))
        tab.goto(address)
        tab.wait_for_url("**/")
        tab.locator("#files:enabled").focus()
        tab.set_input_files("#files", [*photos, tmp_path / "broken.jpg"])
        given = trying.answers(tab, 3)
        assert given.keys() == {"<b>&.jpg", "turned-6.jpg", "broken.jpg"}
        assert "does not decode as a photo" in given["broken.jpg"]["words"]
        assert sum(given["<b>&.jpg"]["probabilities"].values()) == pytest.approx(1)
        assert tab.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth)")
        tab.locator("#camera").click()
        tab.locator("#video").evaluate("(video) => new Promise((go) => video.videoWidth ? go() : video.onresize = go)")
        tab.locator("#take").click()
        assert "camera.png" in trying.answers(tab, 4)
        drop = (
            "(name) => { const data = new DataTransfer(); data.items.add(new File(['no photo'], name)); return data; }"
        )
        tab.dispatch_event("body", "drop", {"dataTransfer": tab.evaluate_handle(drop, "note.txt")})
        assert "as no format of photos does" in trying.answers(tab, 5)["note.txt"]["words"]
        for width in (390, 1280):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
