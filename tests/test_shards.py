"""Predictions as Parquet files: the same bytes whoever computes them, in any place that fsspec knows."""

import hashlib
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pandas as pd
import pytest
from networks import fit_classifier, save_classifier
from typer.testing import CliRunner, Result

from smallset.cli import remote_files, shards
from smallset.cli.main import app
from smallset.cli.predict import Query
from smallset.datasets import synthetic
from smallset.datasets.dataset import Dataset
from smallset.models.classifier import Classifier
from smallset.pipeline.errors import SmallsetError

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.fixture
def model(tmp_path: Path, drawn: Dataset) -> Path:
    return save_classifier(tmp_path / "known.keras", drawn)


@pytest.fixture
def bucket(drawn: Dataset) -> str:
    """The generated photos in memory, below a name of this test's own; one of them is a pattern for fsspec."""
    url = f"memory://{uuid.uuid4().hex}"
    system, folder = fsspec.url_to_fs(url)
    for file, path in zip(drawn.table["file"], drawn.paths, strict=True):
        system.pipe_file(f"{folder}/photos/{file.replace('cat.1', 'cat[1]*')}", path.read_bytes())
    return url


def write(model: Path, source: object, target: object) -> dict[str, Any]:
    photos = remote_files.find_photos(remote_files.open_location(str(source)))
    return shards.write(model, photos, remote_files.open_location(str(target)), Query.for_model(model, 0.9))


def read(folder: Path) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(path) for path in sorted(folder.glob("*.parquet")))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_rows_are_the_predictions_and_a_file_that_cannot_be_read_has_its_error(
    tmp_path: Path, model: Path, drawn: Dataset
) -> None:
    (drawn.root / "dog/x.jpg").write_text("no photo")
    done = run("predict", model, drawn.root, "--output", tmp_path / "out", "--coverage", "0.9")
    assert done.exit_code == 1, done.output
    table = read(tmp_path / "out")
    good = table[table["error"].isna()]
    expected = list(Classifier.load(model).predict_paths(map(str, drawn.paths), coverage=0.9))
    assert good["label"].tolist() == [prediction.label for prediction in expected]
    assert good["file"].tolist() == drawn.table["file"].tolist()
    assert [set(labels) for labels in good["prediction_set"]] == [set(answer.prediction_set) for answer in expected]
    assert good["probabilities"].map(sum).tolist() == pytest.approx([1] * 10, abs=1e-5)
    assert table["file"][table["error"].notna()].tolist() == ["dog/x.jpg"]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert json.loads(done.stdout) == manifest["counts"]
    assert (manifest["photos"], manifest["shards"], manifest["counts"]["unread"]) == (11, 3, 1)
    assert sum(manifest["counts"]["labels"].values()) == 10


def test_an_interrupted_run_continues_to_the_same_bytes_and_computes_no_shard_again(
    tmp_path: Path, model: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(model, drawn.root, tmp_path / "complete")
    write_file, written = remote_files.Location.write, list[str]()

    def interrupt(self: remote_files.Location, file: str, content: bytes) -> None:
        written.append(file[:5])
        if written.count("00001") == 1 and file.startswith("00001"):
            raise KeyboardInterrupt
        write_file(self, file, content)

    monkeypatch.setattr(remote_files.Location, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(model, drawn.root, tmp_path / "out")
    assert {*digests(tmp_path / "out")} == {"00000.parquet", "manifest.json"}
    (tmp_path / "out/.part.00000.parquet").write_bytes(b"PAR1")
    write(model, drawn.root, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "complete")
    write(model, drawn.root, tmp_path / "out")
    assert written == ["manif", "00000", "00001", "00001", "00002", "manif", "manif"]


def test_another_file_system_gives_the_predictions_of_a_local_folder(
    tmp_path: Path, model: Path, drawn: Dataset, bucket: str
) -> None:
    write(model, drawn.root, tmp_path / "local")
    manifest = write(model, f"{bucket}/photos", f"{bucket}/labels")
    output = remote_files.open_location(f"{bucket}/labels")
    assert sorted(output.list_names()) == ["00000.parquet", "00001.parquet", "00002.parquet", "manifest.json"]
    table = pd.concat(shards.read_shards(output, 3))
    table = table.assign(file=table["file"].str.replace("cat[1]*", "cat.1")).set_index("file").sort_index()
    pd.testing.assert_frame_equal(table, read(tmp_path / "local").set_index("file").sort_index())
    assert manifest["counts"]["unread"] == 0


def test_a_store_that_fails_is_tried_again_and_then_ends_the_run_without_a_wrong_shard(
    model: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, _ = fsspec.url_to_fs(bucket)
    read, attempts, forbidden = type(system).cat_file, Counter[str](), ["dog.3.jpg"]

    def fail(self: Any, path: str, *rest: Any, **options: Any) -> bytes:
        attempts[path] += 1
        if path.endswith(tuple(forbidden)):
            raise PermissionError("Forbidden")
        if path.endswith("dog.3.jpg") or attempts[path] <= 2:
            raise ConnectionError("the line is dead")
        return bytes(read(self, path, *rest, **options))

    monkeypatch.setattr(remote_files, "WAITS", (0, 0))
    monkeypatch.setattr(type(system), "cat_file", fail)
    assert write(model, f"{bucket}/photos", f"{bucket}/labels")["counts"]["unread"] == 1  # a forbidden photo has a row
    forbidden.append("nothing")  # as with credentials that have expired
    with pytest.raises(SmallsetError, match="photos: PermissionError: Forbidden"):
        write(model, f"{bucket}/photos", f"{bucket}/forbidden")
    forbidden.remove("dog.3.jpg")
    with pytest.raises(SmallsetError, match=r"dog\.3\.jpg: ConnectionError: the line is dead\. Check the name"):
        write(model, f"{bucket}/photos", f"{bucket}/dead")
    names = remote_files.open_location(f"{bucket}/dead").list_names()
    assert sorted(names) == ["00000.parquet", "00001.parquet", "manifest.json"]


def test_an_outage_is_announced_and_attempts_that_take_long_are_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = [0.0]

    def wait(duration: float) -> None:
        seconds[0] += duration

    def hang() -> bytes:
        wait(15)
        raise TimeoutError

    monkeypatch.setattr(remote_files, "WAITS", (1, 5, 25))
    monkeypatch.setattr(remote_files, "time", SimpleNamespace(monotonic=lambda: seconds[0], sleep=wait))
    for _ in range(2):  # as by two readers
        seconds[0] = 0
        with pytest.raises(TimeoutError):
            remote_files.retry(hang)
        assert seconds[0] <= remote_files.PATIENCE
    line = "The storage does not answer (TimeoutError). New attempt in {} s.\n"
    assert capsys.readouterr().err == line.format(1) + line.format(5)


def test_names_that_are_not_text_are_written(tmp_path: Path, model: Path, drawn: Dataset, bucket: str) -> None:
    content = drawn.paths[0].read_bytes()
    (tmp_path / "odd").mkdir()
    (tmp_path / os.fsdecode(b"odd/\xff.jpg")).write_bytes(content)
    write(model, tmp_path / "odd", tmp_path / "out")
    assert pd.read_parquet(tmp_path / "out/00000.parquet")["file"].tolist() == ["\\xff.jpg"]
    system, folder = fsspec.url_to_fs(f"{bucket}/odd")
    system.pipe_file(f"{folder}/new\nline.jpg", content)
    write(model, f"{bucket}/odd", f"{bucket}/labels")
    [table] = shards.read_shards(remote_files.open_location(f"{bucket}/labels"), 1)
    assert table["file"].tolist() == ["new\nline.jpg"]
    assert table["error"].isna().all()


def test_predictions_of_another_model_or_list_are_refused_and_stay(tmp_path: Path, model: Path, drawn: Dataset) -> None:
    write(model, drawn.root, tmp_path / "out")
    before = digests(tmp_path / "out")
    drawn.paths[0].unlink()
    with pytest.raises(SmallsetError, match="with another number of photos and another list of photos .names, sizes,"):
        write(model, drawn.root, tmp_path / "out")
    (tmp_path / "out/manifest.json").write_text("[")
    with pytest.raises(SmallsetError, match="expected a manifest"):
        write(model, drawn.root, tmp_path / "out")
    assert digests(tmp_path / "out") | {"manifest.json": ""} == before | {"manifest.json": ""}


def test_photos_that_are_replaced_by_others_of_the_same_size_are_another_list(drawn: Dataset, bucket: str) -> None:
    def digest(source: object) -> str:
        return remote_files.find_photos(remote_files.open_location(str(source))).digest

    before = [digest(source) for source in (drawn.root, f"{bucket}/photos")]
    assert before == [digest(source) for source in (drawn.root, f"{bucket}/photos")]
    os.utime(drawn.paths[0], ns=(0, 0))
    system, folder = fsspec.url_to_fs(f"{bucket}/photos")
    path = f"{folder}/{drawn.table['file'].iloc[-1]}"
    system.pipe_file(path, system.cat_file(path))
    assert not {*before} & {digest(drawn.root), digest(f"{bucket}/photos")}


def test_a_damaged_shard_and_an_unknown_protocol_are_reported(tmp_path: Path, model: Path, drawn: Dataset) -> None:
    write(model, drawn.root, tmp_path / "out")
    (tmp_path / "out/00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(SmallsetError, match=r"00001\.parquet: not a complete Parquet file .* Delete it"):
        write(model, drawn.root, tmp_path / "out")
    with pytest.raises(SmallsetError, match="nowhere://x"):
        write(model, "nowhere://x", tmp_path / "other")


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    """Class folders with new photos, one that cannot be decoded, and one outside of the folders."""
    folder = tmp_path / "photos"
    synthetic.draw(folder, 6, 40, seed=7)
    (folder / "dog/x.jpg").write_bytes(b"no photo")
    shutil.copy(folder / "cat/cat.1.jpg", folder / "loose.jpg")
    return folder


def test_evaluate_gives_the_numbers_of_a_local_run_in_any_place(tmp_path: Path, model: Path, labeled: Path) -> None:
    local = run("evaluate", model, labeled, "--output", tmp_path / "tables", "--batch-size", 2)
    assert local.exit_code == 1, local.output
    results = json.loads(local.stdout)
    assert results["n"] == 12
    assert results["low"] < results["accuracy"] < results["high"]
    assert results["accuracy"] == pytest.approx(sum(results["recall"].values()) / 2, abs=1e-6)
    assert "Always answering cat gets 6 right (0.500)" in local.stderr
    assert f"  cat: {results['recall']['cat']:.3f} of 6 photos (95 % interval " in local.stderr
    assert all(f"\n  {key}: " in local.stderr for key in results)  # explained in words
    bucket = f"memory://{uuid.uuid4().hex}"
    fsspec.filesystem("memory").put(f"{labeled}/", f"/{bucket.removeprefix('memory://')}/photos/", recursive=True)
    for source, target in ((str(labeled), f"file://{tmp_path}/to-url"), (f"{bucket}/photos", f"{bucket}/labels")):
        done = run("evaluate", model, source, "--output", target)
        assert (done.exit_code, json.loads(done.stdout)) == (1, results), done.stderr
        assert "dog/x.jpg: " in done.stderr
        assert "loose.jpg" in done.stderr
        assert "Not checked: whether the model was trained on some of these photos" in done.stderr
        per_class = remote_files.open_location(target).read("per_class.csv")
        assert per_class == (tmp_path / "tables/per_class.csv").read_bytes()


def test_evaluate_reads_what_predict_has_written(
    tmp_path: Path, model: Path, drawn: Dataset, labeled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = json.loads(run("evaluate", model, labeled, "--batch-size", 2).stdout)
    options = ("--coverage", 0.5, "--ood-rate", 0.01)
    assert run("predict", model, labeled, "--output", tmp_path / "labels", *options).exit_code == 1

    def refuse(*_: Any, **__: Any) -> Iterator[Any]:
        pytest.fail("a shard was computed again")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "predict_paths", refuse)
        done = run("evaluate", model, labeled, "--output", tmp_path / "labels")
    assert (done.exit_code, json.loads(done.stdout)) == (1, results), done.stderr
    assert "the model was trained or selected with 10 of these 10 photos" in run("evaluate", model, drawn.root).stderr
    other = fit_classifier(drawn)
    other.temperature = 2.0
    other.save(model)
    done = run("evaluate", model, labeled, "--output", tmp_path / "labels")
    assert done.exit_code == 2
    assert "contains predictions with another model" in done.stderr


def test_evaluate_names_what_it_cannot_measure_before_it_writes(tmp_path: Path, model: Path, labeled: Path) -> None:
    url, target = f"file://{labeled}", tmp_path / "labels"
    (labeled / "dog").rename(labeled / "fox")
    for arguments, message in [
        ((url,), "the predictions need a place. Name it with --output."),
        ((labeled, "--ray-address", "auto"), "--ray-address: the predictions need a place."),
        ((tmp_path / "none",), "none' does not exist"),
        ((f"{url}/cat", "--output", target), "expected class folders that the model knows (cat, dog); found none."),
        ((url, "--output", target), "expected class folders that the model knows (cat, dog); found cat, fox."),
    ]:
        done = run("evaluate", model, *arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert message in " ".join(done.stderr.split())
    assert not target.exists()
