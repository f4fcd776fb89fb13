"""Evaluate by shards: the numbers of a local run, from any place; what predict has labelled is only read."""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest
from networks import convnet, limited
from typer.testing import CliRunner, Result

from smallset.cli import app, prediction, remote_files, shards
from smallset.datasets import lists, synthetic
from smallset.models import model_file

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.fixture
def model(tmp_path: Path, drawn: lists.Photos) -> Path:
    return limited(tmp_path / "known.keras", drawn)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Class folders with photos that the model does not know, one that does not decode, and one beside the folders."""
    folder = tmp_path / "photos"
    synthetic.draw(folder, 6, 40, seed=7)
    (folder / "dog/x.jpg").write_bytes(b"no photo")
    shutil.copy(folder / "cat/cat.1.jpg", folder / "loose.jpg")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app.app, [str(argument) for argument in arguments])


def refuse(*_: Any) -> Any:
    pytest.fail("a label was computed again")


def test_any_place_gives_the_numbers_of_a_local_run(tmp_path: Path, model: Path, photos: Path) -> None:
    local = run("evaluate", model, photos, "--output", tmp_path / "tables", "--batch", 2)
    measures = json.loads(local.stdout)
    assert (local.exit_code, measures["n"]) == (1, 12)
    assert 0 < measures["unlike"] <= 1
    bucket = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").put(f"{photos}/", f"/{bucket.removeprefix('memory://')}/photos/", recursive=True)
    for source, target in (
        (f"file://{photos}", str(tmp_path / "from-url")),
        (str(photos), f"file://{tmp_path}/to-url"),
        (f"{bucket}/photos", f"{bucket}/labels"),
    ):
        done = run("evaluate", model, source, "--output", target)
        assert (done.exit_code, json.loads(done.stdout)) == (1, measures), done.stderr
        assert "dog/x.jpg: does not decode" in done.stderr
        assert "Not counted: 1 in no class folder (loose.jpg)." in done.stderr
        assert "Not checked: whether the model was trained on some of these photos" in done.stderr
        output = remote_files.place(target)
        assert output.read("classes.csv") == (tmp_path / "tables/classes.csv").read_bytes()
        assert shards.finished(output) == {f"0000{number}.parquet" for number in range(4)}


def test_what_predict_has_labelled_is_only_read_whatever_it_was_asked(
    tmp_path: Path, model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = json.loads(run("evaluate", model, photos, "--batch", 2).stdout)
    asked = ("--coverage", 0.5, "--unlike-rate", 0.3)
    assert run("predict", model, photos, "--output", tmp_path / "labels", *asked).exit_code == 1
    monkeypatch.setattr(prediction, "load", refuse)
    done = run("evaluate", model, photos, "--output", tmp_path / "labels")
    assert (done.exit_code, json.loads(done.stdout)) == (1, measures), done.stderr
    model_file.save(convnet(78, 2), model, ("cat", "dog"))
    done = run("evaluate", model, photos, "--output", tmp_path / "labels")
    assert done.exit_code == 2
    assert "has labels of another model" in done.stderr


def test_what_cannot_be_measured_is_told_before_anything_is_written(tmp_path: Path, model: Path, photos: Path) -> None:
    url, target = f"file://{photos}", tmp_path / "labels"
    cases = [
        ((url,), f"{url}: its labels need a place. Name it with --output."),
        ((photos, "--on", "auto"), "--on: a cluster writes files, and prints nothing. Add --output."),
        ((tmp_path / "none",), "none' does not exist"),
        ((model,), "is a file"),
        ((f"{url}/cat", "--output", target), "expected class folders that the model knows, of cat, dog; found none."),
    ]
    (photos / "dog").rename(photos / "fox")
    cases.append(
        ((url, "--output", target), "expected class folders that the model knows, of cat, dog; found cat, fox.")
    )
    for arguments, words in cases:
        done = run("evaluate", model, *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert words in " ".join(done.stderr.split())
    assert not target.exists()


def test_a_place_without_a_photo_that_decodes_is_an_error(tmp_path: Path, model: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").pipe_file(f"{url}/cat/1.jpg", b"no photo")
    done = run("evaluate", model, url, "--output", tmp_path / "labels")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "expected photos, found none that decodes" in done.stderr
    assert "cat/1.jpg: does not decode" in done.stderr
