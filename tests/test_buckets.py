"""Labels from a bucket into a bucket: an S3 of moto's on this machine, which no run needs to know from the real one."""

import itertools
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from networks import save_classifier
from typer.testing import CliRunner

from smallset.cli import remote_files, shards
from smallset.cli.main import app
from smallset.datasets import folders, synthetic
from smallset.datasets.dataset import Dataset

for package in ("pyarrow", "s3fs", "moto", "flask_cors"):
    pytest.importorskip(package)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_shards")]

PREDICT = "from smallset.cli import main, shards; shards.LENGTH = 4; shards.BATCH = 2; main.app(prog_name='smallset')"
MANY = 120  # photos; so many that a run is killed before its end
NAMES = [
    "a b.jpg",
    "c#1.jpg",
    "what?.jpg",
    "100%25.jpg",
    "ü-写真.jpg",
    "[x]*.jpg",
    "d//e.jpg",
    "f/+&=.jpg",
    "back\\.jpg",
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3, which ends with these tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            assert process.poll() is None
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def rights(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment of a user of S3 tells, and no connection of another test's."""
    known = {"ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "testing", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**known, "ENDPOINT_URL": server, "EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("photos")
    synthetic.draw(folder / "drawn", 3, 40, seed=0)
    drawn, _ = folders.read_folder(folder / "drawn")
    (folder / "many").mkdir()
    for number, path in zip(range(MANY), itertools.cycle(drawn.paths), strict=False):
        (folder / f"many/{number:03}.jpg").write_bytes(path.read_bytes())
    return drawn


@pytest.fixture(scope="module")
def model(photos: Dataset) -> Path:
    return save_classifier(photos.root.parent / "known.keras", photos)


@pytest.fixture
def store() -> Any:
    return fsspec.filesystem("s3")


@pytest.fixture
def bucket(store: Any) -> str:
    """An empty one."""
    name = uuid.uuid4().hex
    store.mkdir(name)
    return name


def filled(store: Any, bucket: str, photos: Dataset) -> str:
    store.put(f"{photos.root.parent}/many/", f"{bucket}/many/", recursive=True)
    return f"s3://{bucket}/many"


def predict(model: Path, source: object, target: str) -> Any:
    return CliRunner().invoke(app, ["predict", str(model), str(source), "--output", target])


def contents(target: str) -> dict[str, bytes]:
    """What is in a folder, by name."""
    location = remote_files.open_location(target)
    return {name: location.read(name) or b"" for name in sorted(location.list_names())}


def finished(target: str) -> set[str]:
    """The names of the complete shards."""
    return {name for name in remote_files.open_location(target).list_names() if name.endswith(".parquet")}


def read(target: str) -> pd.DataFrame:
    """All rows, by file."""
    return pd.concat(shards.read_shards(remote_files.open_location(target), len(finished(target)))).set_index("file")


def allow(server: str, requests: str) -> None:
    """Let the credentials be good for so many requests from now on."""
    plain = {"Content-Type": "text/plain"}
    urllib.request.urlopen(  # noqa: S310
        urllib.request.Request(f"{server}/moto-api/reset-auth", requests.encode(), plain, method="POST")  # noqa: S310
    ).close()


def test_a_killed_run_goes_on_to_the_bytes_of_a_local_one(
    tmp_path: Path, model: Path, photos: Dataset, store: Any, bucket: str
) -> None:
    source, target = filled(store, bucket, photos), f"s3://{bucket}/labels"
    command = [sys.executable, "-c", PREDICT, "predict", str(model), source, "--output", target]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(done := finished(target)) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = {name: store.info(f"{bucket}/labels/{name}")["LastModified"] for name in done}
    assert len(left) < MANY / 4
    again = predict(model, source, target)
    assert again.exit_code == 0, again.output
    assert {name: store.info(f"{bucket}/labels/{name}")["LastModified"] for name in done} == left
    assert predict(model, photos.root.parent / "many", str(tmp_path / "local")).exit_code == 0
    local = contents(str(tmp_path / "local"))
    assert all(content == local[name] for name, content in contents(target).items() if name != shards.MANIFEST)
    assert len(contents(target)) == MANY / 4 + 1


def test_odd_names_and_what_is_no_photo_or_gone_have_their_rows(
    model: Path, photos: Dataset, store: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path in zip([*NAMES, "gone.jpg"], itertools.cycle(photos.paths), strict=False):
        store.pipe_file(f"{bucket}/odd/{name}", path.read_bytes())
    for name in ("bad.jpg", "zero.png", "notes.txt", ".hidden.jpg", "noext", "folder.jpg/"):
        store.pipe_file(f"{bucket}/odd/{name}", b"" if name == "zero.png" else b"no photo")
    store.pipe_file(f"{bucket}/odd/q", photos.paths[0].read_bytes())
    store.call_s3("put_object", Bucket=bucket, Key="odd/q?versionId=1.jpg", Body=b"another photo")
    find = remote_files.find_photos

    def remove_late(location: remote_files.Location) -> remote_files.PhotoList:
        photo_list = find(location)
        store.rm_file(f"{bucket}/odd/gone.jpg")
        return photo_list

    monkeypatch.setattr(remote_files, "find_photos", remove_late)
    answer = predict(model, f"s3://{bucket}/odd/", f"s3://{bucket}/labels")
    assert answer.exit_code == 1, answer.output
    rows = read(f"s3://{bucket}/labels")
    errors = rows["error"].dropna()
    assert [*rows.index] == sorted([*NAMES, "gone.jpg", "bad.jpg", "zero.png", "q?versionId=1.jpg"])
    assert {*errors.index} == {"gone.jpg", "bad.jpg", "zero.png", "q?versionId=1.jpg"}
    assert "its name contains ?versionId=, which selects a version in S3" in errors["q?versionId=1.jpg"]
    assert "Other files: 2 without a type (noext, q); 1 hidden" in answer.stderr
    assert "1 a key that ends with / (folder.jpg/)" in answer.stderr
    assert errors["gone.jpg"].startswith("cannot be read: ")
    assert errors["zero.png"] == "does not decode as a photo: it is empty"
    assert rows["label"].notna().sum() == len(NAMES)


def test_what_cannot_be_reached_is_told_in_one_line_and_nothing_is_made(
    model: Path, photos: Dataset, store: Any, bucket: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, target = photos.root, f"s3://{bucket}/labels"
    cases = [
        (f"s3://{bucket}", target, rf"s3://{bucket}: expected photos, found none\."),
        ("s3://no-such-bucket/x", target, "s3://no-such-bucket/x: FileNotFoundError: "),
        ("s3://", target, "s3://: ValueError: "),
        (good, "s3://no-such-bucket/x", "s3://no-such-bucket/x: FileNotFoundError: "),
    ]
    answers = [(predict(model, source, wanted), words) for source, wanted, words in cases]
    allow(server, "0")
    answers += [(predict(model, source, target), "Error: ") for source in (f"s3://{bucket}", good)]
    allow(server, "inf")
    assert not store.exists(f"{bucket}/labels")
    assert not store.exists("no-such-bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    type(store).clear_instance_cache()
    answers.append((predict(model, f"s3://{bucket}", target), f"s3://{bucket}: EndpointConnectionError: "))
    for answer, words in answers:
        assert answer.exit_code == 2
        assert isinstance(answer.exception, SystemExit), answer.exception
        *attempts, error = answer.stderr.splitlines()
        assert all(line.startswith("The storage does not answer") for line in attempts)
        assert re.match(f"smallset: .*{words}", error)


def test_a_store_that_accepts_connections_and_never_answers_ends_the_command(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "read_timeout", 1)
        monkeypatch.setattr(remote_files, "WAITS", (0.1, 0.2))
        answer = predict(model, "s3://bucket/photos", "s3://bucket/labels")
    assert answer.exit_code == 2
    first, second, error = answer.stderr.splitlines()
    assert first == "The storage does not answer (ReadTimeoutError). New attempt in 0.1 s."
    assert second == "The storage does not answer (ReadTimeoutError). New attempt in 0.2 s."
    assert error.startswith("smallset: s3://bucket/photos: ReadTimeoutError: ")


def test_rights_that_run_out_end_the_run_and_make_no_photo_unreadable(
    model: Path, photos: Dataset, store: Any, bucket: str, server: str
) -> None:
    source, target = filled(store, bucket, photos), f"s3://{bucket}/labels"
    allow(server, "100")  # the listing, then photos and labels in turn
    answer = predict(model, source, target)
    allow(server, "inf")
    assert answer.exit_code == 2
    assert "PermissionError" in answer.stderr
    assert 0 < len(finished(target)) < MANY / 4
    assert predict(model, source, target).exit_code == 0
    assert read(target)["label"].notna().sum() == MANY
