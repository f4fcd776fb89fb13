"""Mirrors are tried in turn, and what they give is checked before use; a local archive needs none."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from smallset.datasets import filling
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

NOWHERE = "http://127.0.0.1:9/archive.zip"  # the discard port: refused at once


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMALLSET_ARCHIVE", raising=False)
    monkeypatch.setenv("PATH", "")  # no Kaggle client


@pytest.fixture(scope="module")
def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(3):
            for name in ("cat", "dog"):
                file.writestr(f"train/{name}.{number}.jpg", f"{name} {number} " * 50000)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves one archive, honours Range, notes where each answer began, and breaks the first one off on demand."""

    content: bytes
    starts: list[int]
    breaks: bool = False


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.content
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = 1_300_000 if self.server.breaks and not start else None
        self.wfile.write(content[start:end])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(archive: bytes) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.content, server.starts = archive, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/archive.zip"


def fill(document: Any, tmp_path: Path, **download: object) -> dict[str, Any]:
    p = params.parse(document | {"download": document["download"] | download})
    target = tmp_path / "raw"
    target.mkdir()
    return filling.fill(target, tmp_path / "downloads", p.download, seed=0)


def test_the_first_mirror_that_answers_is_taken(document: Any, tmp_path: Path, server: Server, archive: bytes) -> None:
    digest = hashlib.sha256(archive).hexdigest()
    mirrors = [{"url": NOWHERE, "sha256": None}, {"url": url(server), "sha256": digest}]
    record = fill(document, tmp_path, mirrors=mirrors)
    assert record["sha256"] == digest
    assert record["photos"] == {"cat": 3, "dog": 3}


def test_a_broken_download_goes_on_where_it_stopped(
    document: Any, tmp_path: Path, server: Server, archive: bytes
) -> None:
    server.breaks = True
    fill(document, tmp_path, mirrors=[{"url": url(server), "sha256": hashlib.sha256(archive).hexdigest()}])
    assert server.starts[0] == 0 < server.starts[1]


def test_an_archive_that_is_there_needs_no_network(document: Any, tmp_path: Path, archive: bytes) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "archive.zip").write_bytes(archive)
    digest = hashlib.sha256(archive).hexdigest()
    assert fill(document, tmp_path, mirrors=[{"url": NOWHERE, "sha256": digest}])["photos"] == {"cat": 3, "dog": 3}


def test_what_is_no_zip_is_set_aside_and_the_next_mirror_tried(document: Any, tmp_path: Path, server: Server) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "dogs-vs-cats.zip").write_bytes(b"<html>quota exceeded</html>")
    mirrors = [{"url": "http://127.0.0.1:9/uc?id=1", "sha256": None}, {"url": url(server), "sha256": None}]
    assert fill(document, tmp_path, mirrors=mirrors)["archive"] == "archive.zip"
    assert (tmp_path / "downloads" / "dogs-vs-cats.wrong").exists()


def test_a_wrong_checksum_is_not_unpacked_and_not_kept(document: Any, tmp_path: Path, server: Server) -> None:
    with pytest.raises(SmallsetError, match="archive.zip: expected a zip with sha256 00ff, found "):
        fill(document, tmp_path, mirrors=[{"url": url(server), "sha256": "00ff"}])
    assert not list((tmp_path / "raw").iterdir())
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["archive.wrong"]


def test_without_a_network_one_message_lists_what_was_tried_and_three_ways_on(document: Any, tmp_path: Path) -> None:
    kaggle = "https://www.kaggle.com/competitions/dogs-vs-cats"
    with pytest.raises(SmallsetError) as error:
        fill(document, tmp_path, mirrors=[{"url": NOWHERE, "sha256": None}, {"url": kaggle, "sha256": None}])
    for text in (NOWHERE, "Kaggle's client is not installed", "SMALLSET_ARCHIVE=", "source: folder", "source: sample"):
        assert text in str(error.value)


def test_a_local_archive_is_used_instead(
    document: Any, tmp_path: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.zip").write_bytes(archive)
    monkeypatch.setenv("SMALLSET_ARCHIVE", str(tmp_path / "mine.zip"))
    record = fill(document, tmp_path)
    assert (record["archive"], record["sha256"]) == ("mine.zip", hashlib.sha256(archive).hexdigest())
