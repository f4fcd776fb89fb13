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


def make_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in ("cat", "dog"):
            file.writestr(f"train/{name}.0.jpg", f"{name} " * 500_000)
    return buffer.getvalue()


ARCHIVE = make_archive()
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty pipeline without an archive, and without Kaggle's client."""
    monkeypatch.delenv("SMALLSET_ARCHIVE", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    downloads.DOWNLOADS.mkdir(parents=True)
    return tmp_path


class Server(ThreadingHTTPServer):
    """Serves the archive from any byte on, records the first bytes, and breaks off the first answer."""

    starts: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(ARCHIVE) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(ARCHIVE) - 1}/{len(ARCHIVE)}")
        self.end_headers()
        self.wfile.write(ARCHIVE[start : None if start else 1_300_000])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.starts = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fill(*mirrors: tuple[str, str | None]) -> dict[str, Any]:
    Path("raw").mkdir()
    listed = [params.Mirror(url=address, sha256=sha256) for address, sha256 in mirrors]
    return sources.fill(Path("raw"), params.Download(source="dogs-vs-cats", mirrors=listed), seed=0)


def test_the_first_mirror_that_answers_is_used_and_a_broken_download_is_continued(server: Server) -> None:
    record = fill((NOWHERE, None), (server.url, DIGEST))
    assert (record["sha256"], record["photos"]) == (DIGEST, {"cat": 1, "dog": 1})
    assert server.starts[0] == 0 < server.starts[1]


def test_a_page_instead_of_a_zip_and_an_archive_with_a_wrong_digest_are_set_aside(server: Server) -> None:
    (downloads.DOWNLOADS / "dogs-vs-cats.zip").write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(SmallsetError, match="archive.zip: expected a zip with sha256 00ff, found "):
        fill(("http://127.0.0.1:9/uc?id=1", None), (server.url, "00ff"))
    assert not [*Path("raw").iterdir()]
    assert {path.name for path in downloads.DOWNLOADS.iterdir()} == {"archive.wrong", "dogs-vs-cats.wrong"}


def test_without_a_network_the_error_lists_alternatives() -> None:
    with pytest.raises(SmallsetError) as error:
        fill((NOWHERE, None), ("https://www.kaggle.com/competitions/dogs-vs-cats", None))
    alternatives = ("SMALLSET_ARCHIVE=", "source: folder", "source: synthetic")
    for text in (NOWHERE, "Kaggle's client is not installed", *alternatives):
        assert text in str(error.value)


@pytest.mark.parametrize("named", [False, True])
def test_an_earlier_download_or_a_local_archive_is_used(monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    path = Path("mine.zip") if named else downloads.DOWNLOADS / "archive.zip"
    path.write_bytes(ARCHIVE)
    if named:
        monkeypatch.setenv("SMALLSET_ARCHIVE", str(path))
    record = fill() if named else fill((NOWHERE, DIGEST))
    assert (record["archive"], record["sha256"]) == (path.name, DIGEST)
