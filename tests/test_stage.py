"""Around each stage: an error that the user can fix is one line with the fix, and a run leaves a record."""

import errno
import json
import signal
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from smallset.pipeline import cluster, process, stage, watchdog
from smallset.pipeline.errors import SmallsetError

GRAPH = """
vars: [{root: ..}]
stages:
  train:
    cmd: python ${root}/stages/train.py
    params: [seed, augmentation.flip, {shared.yaml: [precision]}]
    deps: [photos, "${root}/table.csv"]
    outs: [models/a.keras]
    metrics: [metrics/a.json: {cache: false}]
  evaluate:
    matrix: {model: [a]}
    cmd: smallset run evaluate ${item.model}
    params: [seed]
    deps: ["models/${item.model}.keras"]
    plots: ["metrics/${item.model}.csv": {cache: false}]
"""
PARAMS = """
seed: 1
augmentation: {flip: none, rotation: 0.1, zoom: 0.2, fill: reflect}
"""


@pytest.fixture(autouse=True)
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A pipeline in pipeline/, whose stage `train` DVC runs."""
    folder = tmp_path / "pipeline"
    for name in ("photos/__pycache__", "metrics", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "shared.yaml").write_text("seed: 2\nprecision: auto\n")
    (folder / "photos/1.jpg").write_text("1")
    (tmp_path / "table.csv").write_text("1")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_STAGE", "pipeline/dvc.yaml:train")
    monkeypatch.setattr(sys, "argv", ["stages/train.py"])
    monkeypatch.setattr(watchdog, "start", lambda: None)
    monkeypatch.setattr(process, "prepare", lambda: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


def fail(error: BaseException) -> str:
    """The line with which a stage ends that raises an error."""

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        stage.run(main)
    return str(ended.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SmallsetError("a: b"), "a: b"),
        (OSError(errno.ENOSPC, "No space left on device", "x.npy"), "'x.npy'. The disk is full: free some space, then"),
        (MemoryError("Unable to allocate 2 GiB"), "not enough memory. Unable to allocate 2 GiB Close other programs"),
        (KeyboardInterrupt(), "interrupted. Continue with: dvc repro"),
        (ValueError("a thread: SmallsetError: 1.jpg: does not decode"), "1.jpg: does not decode. Run: smallset check"),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line(error: BaseException, message: str) -> None:
    assert fail(error).startswith("\ntrain: ")
    assert message in fail(error)


def test_another_error_has_its_traceback_and_sigterm_ends_a_stage_with_one_line() -> None:
    with pytest.raises(ZeroDivisionError):
        stage.run(lambda: print(1 / 0))
    with pytest.raises(SystemExit, match="train: ended by SIGTERM. Continue with: dvc repro"):
        stage.run(lambda: signal.raise_signal(signal.SIGTERM))


def test_another_version_than_the_pinned_one_does_not_run(pipeline: Path) -> None:
    version = metadata.version("smallset")
    (pipeline / "params.yaml").write_text(f"{PARAMS}smallset: {version}\n")
    stage.run(lambda: None)
    (pipeline / "params.yaml").write_text("smallset: 9.9.9\nnew_key: 1\n")
    message = fail(AssertionError("main is not called"))
    assert f"params.yaml pins smallset 9.9.9, but smallset {version} is installed." in message
    assert "Run: pip install -r requirements.txt, or move the project" in message
    assert message.endswith("smallset upgrade")


def test_a_stage_has_the_params_that_it_declares_from_the_file_that_it_declares_and_its_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p = stage.load_params()
    assert (p.seed, p.augmentation.flip, p.precision) == (1, "none", "auto")
    with pytest.raises(AttributeError, match="zoom"):
        _ = p.augmentation.zoom
    monkeypatch.setenv("DVC_STAGE", "evaluate@a")
    declaration = stage.declaration("evaluate@a")
    assert declaration["deps"] == ["models/a.keras"]
    assert stage.list_outputs(declaration) == {"metrics/a.csv": {"cache": False}}
    with pytest.raises(AttributeError, match="precision"):
        _ = stage.load_params().precision
    monkeypatch.delenv("DVC_STAGE")
    with pytest.raises(SmallsetError, match="DVC must run a stage"):
        stage.load_params()


def test_a_checkpoint_depends_on_params_deps_and_arguments(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Path("models/a.keras")
    first = stage.checkpoint(output)
    assert first.path == Path("models/.part.a.npz")
    (pipeline / "params.yaml").write_text(PARAMS.replace("0.1", "0.3"))  # which the stage does not declare
    (pipeline / "photos/__pycache__/x.pyc").write_text("compiled")
    assert stage.checkpoint(output) == first
    for path in (pipeline / "params.yaml", pipeline / "photos/1.jpg", pipeline.parent / "table.csv"):
        before = path.read_text()
        path.write_text(before.replace("1", "2"))
        assert stage.checkpoint(output) != first
        path.write_text(before)
    (pipeline / "photos/1.jpg").rename(pipeline / "photos/2.jpg")
    assert stage.checkpoint(output) != first
    (pipeline / "photos/2.jpg").rename(pipeline / "photos/1.jpg")
    monkeypatch.setattr(sys, "argv", ["stages/train.py", "b"])
    assert stage.checkpoint(output) != first


def test_a_run_is_recorded_and_another_machine_is_noticed(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "workers", lambda: {"ray": "2 x host"})
    stage.run(lambda: Path("models/a.keras").touch())
    record = json.loads(Path("metrics/provenance.json").read_text())
    assert list(record) == ["train"]
    assert record["train"]["ray"] == "2 x host"
    assert json.loads((pipeline / "data/runs.jsonl").read_text())["stage"] == "train"
    assert "train: 0 s" in capsys.readouterr().out
    record["train"]["numpy"] = "1.0"
    Path("metrics/provenance.json").write_text(json.dumps(record))
    stage.run(lambda: None)
    assert "the last digits may differ from the results in dvc.lock" in (output := capsys.readouterr().out)
    assert "which were made with numpy 1.0, here" in output


def test_a_failed_stage_tells_how_to_restore_its_last_outputs(pipeline: Path) -> None:
    outputs = [{"path": "models/a.keras", "md5": "a" * 32}, {"path": "metrics/a.json", "md5": "b" * 32}]
    (pipeline / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"train": {"outs": outputs}}}))
    hint = "no photos.\nDVC's cache has its last outputs. Run: dvc checkout models/a.keras"
    assert fail(SmallsetError("no photos.")).endswith(hint)
    (pipeline / "models/a.keras").touch()
    assert fail(SmallsetError("no photos.")).endswith("no photos.")
