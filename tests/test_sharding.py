"""Shards of labels: the same bytes whoever computes them, in any place that fsspec knows, and none twice."""

import hashlib
import io
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from networks import limited
from typer.testing import CliRunner

from smallset.cli import app, prediction, remote_files, shards
from smallset.datasets import lists
from smallset.models import model_file
from smallset.pipeline.errors import SmallsetError

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.fixture
def model(tmp_path: Path, drawn: lists.Photos) -> Path:
    return limited(tmp_path / "known.keras", drawn)


@pytest.fixture
def bucket(drawn: lists.Photos) -> str:
    """The drawn photos in memory, below a name of this test's own; one of them a [pattern] to fsspec."""
    url = f"memory://{uuid.uuid4().hex}"
    system, folder = fsspec.url_to_fs(url)
    for file in drawn.files:
        content = (drawn.folder / file).read_bytes()
        system.pipe_file(f"{folder}/photos/{file.replace('cat.1', 'cat[1]*')}", content)
    return url


def label(model: Path, source: object, target: object) -> dict[str, Any]:
    photos, output = remote_files.find(remote_files.place(str(source))), remote_files.place(str(target))
    return shards.label(model, photos, output, app._asked(model, None, 0.9))


def md5s(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}  # noqa: S324


def test_rows_are_the_answers_and_what_cannot_be_read_has_its_error(
    tmp_path: Path, model: Path, drawn: lists.Photos
) -> None:
    (drawn.folder / "dog/x.jpg").write_text("no photo")
    done = CliRunner().invoke(
        app.app, ["predict", str(model), str(drawn.folder), "--output", str(tmp_path / "out"), "--coverage", "0.9"]
    )
    assert done.exit_code == 1
    rows = pd.concat(pd.read_parquet(path) for path in sorted((tmp_path / "out").glob("*.parquet")))
    asked = app._asked(model, None, 0.9)
    answers = prediction.answers(model_file.load(model), drawn.paths(), 2, limits=asked.limits)
    expected = [prediction.best(answer, drawn.classes, 1)[0] for answer in answers]
    good = rows[rows["error"].isna()]
    assert list(zip(good["label"], good["probability"], strict=True)) == expected
    assert good["file"].tolist() == list(drawn.files)
    assert good["probabilities"].map(sum).tolist() == pytest.approx([1] * 10, abs=1e-5)
    assert rows["file"][rows["error"].notna()].tolist() == ["dog/x.jpg"]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert json.loads(done.stdout) == manifest["counts"]
    assert (manifest["photos"], manifest["shards"], manifest["counts"]["unread"]) == (11, 3, 1)
    assert sum(manifest["counts"]["labels"].values()) == 10
    assert manifest["model"] == hashlib.sha256(model.read_bytes()).hexdigest()


def test_a_run_that_was_cut_goes_on_to_the_same_bytes_and_computes_no_shard_again(
    tmp_path: Path, model: Path, drawn: lists.Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(model, drawn.folder, tmp_path / "whole")
    write = remote_files.Place.write

    def cut(self: remote_files.Place, file: str, content: bytes) -> None:
        if file.startswith("00001"):
            raise KeyboardInterrupt
        write(self, file, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(remote_files.Place, "write", cut)
        label(model, drawn.folder, tmp_path / "cut")
    assert {*md5s(tmp_path / "cut")} == {"00000.parquet", "manifest.json"}
    (tmp_path / "cut/.part.00000.parquet").write_bytes(b"PAR1")
    asked: list[str] = []
    load = prediction.load

    def noted(path: str) -> str:
        asked.append(path)
        return path

    def counted(paths: Iterable[str], *rest: Any) -> Any:
        return load(map(noted, paths), *rest)

    monkeypatch.setattr(prediction, "load", counted)
    label(model, drawn.folder, tmp_path / "cut")
    assert md5s(tmp_path / "cut") == md5s(tmp_path / "whole")
    assert asked == drawn.paths()[4:]
    label(model, drawn.folder, tmp_path / "cut")
    assert len(asked) == 6


def test_another_file_system_gives_the_labels_of_a_local_folder(
    tmp_path: Path, model: Path, drawn: lists.Photos, bucket: str
) -> None:
    label(model, drawn.folder, tmp_path / "local")
    manifest = label(model, f"{bucket}/photos", f"{bucket}/labels")
    system, folder = fsspec.url_to_fs(f"{bucket}/labels")
    names = sorted(path.rpartition("/")[2] for path in system.ls(folder, detail=False))
    assert names == ["00000.parquet", "00001.parquet", "00002.parquet", "manifest.json"]
    shards = [pd.read_parquet(io.BytesIO(system.cat_file(f"{folder}/{name}"))) for name in names[:3]]
    rows = pd.concat(shards)
    rows = rows.assign(file=rows["file"].str.replace("cat[1]*", "cat.1")).set_index("file").sort_index()
    local = pd.concat(pd.read_parquet(path) for path in sorted((tmp_path / "local").glob("*.parquet")))
    pd.testing.assert_frame_equal(rows, local.set_index("file").sort_index())
    assert manifest["counts"]["unread"] == 0


def test_a_place_that_fails_ends_the_run_and_no_shard_is_wrong(
    model: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, _ = fsspec.url_to_fs(bucket)
    read = type(system).cat_file

    def failing(self: Any, path: str, *rest: Any, **how: Any) -> bytes:
        if path.endswith("dog.3.jpg"):
            raise ConnectionError("the line is dead")
        return bytes(read(self, path, *rest, **how))

    monkeypatch.setattr(type(system), "cat_file", failing)
    with pytest.raises(SmallsetError, match=r"dog\.3\.jpg: ConnectionError: the line is dead\. The same command goes"):
        label(model, f"{bucket}/photos", f"{bucket}/labels")
    assert shards.finished(remote_files.place(f"{bucket}/labels")) == {"00000.parquet", "00001.parquet"}


def test_a_place_that_fails_for_a_while_is_tried_again(
    model: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, _ = fsspec.url_to_fs(bucket)
    tries = Counter[str]()

    def failing(call: Any) -> Any:
        def sometimes(self: Any, path: str, *rest: Any, **how: Any) -> Any:
            tries[path] += 1
            if tries[path] <= 2 and path.endswith((".jpg", ".parquet")):
                raise TimeoutError
            return call(self, path, *rest, **how)

        return sometimes

    for name in ("cat_file", "pipe_file"):
        monkeypatch.setattr(type(system), name, failing(getattr(type(system), name)))
    monkeypatch.setattr(remote_files, "WAITS", (0, 0))
    assert label(model, f"{bucket}/photos", f"{bucket}/labels")["counts"]["unread"] == 0
    assert min(tries[path] for path in tries if path.endswith((".jpg", ".parquet"))) >= 3


def test_forbidden_photos_have_rows_unless_all_is_forbidden(
    model: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, _ = fsspec.url_to_fs(bucket)
    read = type(system).cat_file

    def forbidden(self: Any, path: str, *rest: Any, **how: Any) -> bytes:
        if path.endswith(".3.jpg"):
            raise PermissionError("Forbidden")
        return bytes(read(self, path, *rest, **how))

    monkeypatch.setattr(type(system), "cat_file", forbidden)
    assert label(model, f"{bucket}/photos", f"{bucket}/labels")["counts"]["unread"] == 2
    monkeypatch.setattr(remote_files.Place, "answers", lambda _: False)
    with pytest.raises(SmallsetError, match=r"cat\.3\.jpg: PermissionError: Forbidden"):
        label(model, f"{bucket}/photos", f"{bucket}/other")


def test_names_that_are_no_text_are_written(tmp_path: Path, model: Path, drawn: lists.Photos, bucket: str) -> None:
    content = Path(drawn.paths()[0]).read_bytes()
    (tmp_path / "odd").mkdir()
    (tmp_path / os.fsdecode(b"odd/\xff.jpg")).write_bytes(content)
    label(model, tmp_path / "odd", tmp_path / "out")
    assert pd.read_parquet(tmp_path / "out/00000.parquet")["file"].tolist() == ["\\xff.jpg"]
    system, folder = fsspec.url_to_fs(f"{bucket}/odd")
    system.pipe_file(f"{folder}/new\nline.jpg", content)
    label(model, f"{bucket}/odd", f"{bucket}/labels")
    rows = pd.read_parquet(io.BytesIO(remote_files.place(f"{bucket}/labels").read("00000.parquet") or b""))
    assert rows["file"].tolist() == ["new\nline.jpg"]
    assert rows["error"].isna().all()


def test_labels_of_another_model_or_list_are_refused_and_stay(tmp_path: Path, model: Path, drawn: lists.Photos) -> None:
    label(model, drawn.folder, tmp_path / "out")
    before = md5s(tmp_path / "out")
    (drawn.folder / "cat/cat.0.jpg").unlink()
    with pytest.raises(SmallsetError, match=r"has labels of another photos and list\. Name a new folder"):
        label(model, drawn.folder, tmp_path / "out")
    (tmp_path / "out/manifest.json").write_text("[")
    with pytest.raises(SmallsetError, match="not a manifest"):
        label(model, drawn.folder, tmp_path / "out")
    assert md5s(tmp_path / "out") | {"manifest.json": ""} == before | {"manifest.json": ""}


def test_a_damaged_shard_and_an_unknown_protocol_are_told(tmp_path: Path, model: Path, drawn: lists.Photos) -> None:
    label(model, drawn.folder, tmp_path / "out")
    (tmp_path / "out/00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(SmallsetError, match=r"00001\.parquet: not a whole shard .* Delete it, and run again"):
        label(model, drawn.folder, tmp_path / "out")
    with pytest.raises(SmallsetError, match="nowhere://x"):
        label(model, "nowhere://x", tmp_path / "other")
