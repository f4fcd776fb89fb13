"""Archives come from the first mirror that sends the right bytes, or from this machine."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from smallset.datasets import downloads, sources
from smallset.pipeline import params
from smallset.pipeline.errors import SmallsetError

NOWHERE = "http://127.0.0.1:9/archive.zip"  # the discard port refuses at once


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty pipeline without an archive, and without Kaggle's client."""
    monkeypatch.delenv("SMALLSET_ARCHIVE", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(3):
            for name in ("cat", "dog"):
                file.writestr(f"train/{name}.{number}.jpg", f"{name} {number} " * 50000)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves one archive from any byte on, records the first bytes, and may break off the first answer."""

    content: bytes
    starts: list[int]
    breaks: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive.zip"


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


def fill(*mirrors: tuple[str, str | None]) -> dict[str, Any]:
    Path("raw").mkdir()
    listed = [params.Mirror(url=address, sha256=sha256) for address, sha256 in mirrors]
    return sources.fill(Path("raw"), params.Download(source="dogs-vs-cats", mirrors=listed), seed=0)


def test_the_first_mirror_that_answers_is_used(server: Server, archive: bytes) -> None:
    digest = hashlib.sha256(archive).hexdigest()
    record = fill((NOWHERE, None), (server.url, digest))
    assert record["sha256"] == digest
    assert record["photos"] == {"cat": 3, "dog": 3}


def test_a_broken_download_is_continued(server: Server, archive: bytes) -> None:
    server.breaks = True
    fill((server.url, hashlib.sha256(archive).hexdigest()))
    assert server.starts[0] == 0 < server.starts[1]


def test_an_earlier_download_is_used_again(archive: bytes) -> None:
    downloads.DOWNLOADS.mkdir(parents=True)
    (downloads.DOWNLOADS / "archive.zip").write_bytes(archive)
    assert fill((NOWHERE, hashlib.sha256(archive).hexdigest()))["photos"] == {"cat": 3, "dog": 3}


def test_a_page_instead_of_a_zip_is_set_aside(server: Server) -> None:
    downloads.DOWNLOADS.mkdir(parents=True)
    (downloads.DOWNLOADS / "dogs-vs-cats.zip").write_bytes(b"<html>quota exceeded</html>")
    assert fill(("http://127.0.0.1:9/uc?id=1", None), (server.url, None))["archive"] == "archive.zip"
    assert (downloads.DOWNLOADS / "dogs-vs-cats.wrong").exists()


def test_an_archive_with_a_wrong_digest_is_not_unpacked(server: Server) -> None:
    with pytest.raises(SmallsetError, match="archive.zip: expected a zip with sha256 00ff, found "):
        fill((server.url, "00ff"))
    assert not [*Path("raw").iterdir()]
    assert [path.name for path in downloads.DOWNLOADS.iterdir()] == ["archive.wrong"]


def test_without_a_network_the_error_lists_alternatives() -> None:
    with pytest.raises(SmallsetError) as error:
        fill((NOWHERE, None), ("https://www.kaggle.com/competitions/dogs-vs-cats", None))
    for text in (
        NOWHERE,
        "Kaggle's client is not installed",
        "SMALLSET_ARCHIVE=",
        "source: folder",
        "source: synthetic",
    ):
        assert text in str(error.value)


def test_a_local_archive_needs_no_mirror(folder: Path, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.zip").write_bytes(archive)
    monkeypatch.setenv("SMALLSET_ARCHIVE", str(folder / "mine.zip"))
    record = fill()
    assert (record["archive"], record["sha256"]) == ("mine.zip", hashlib.sha256(archive).hexdigest())
