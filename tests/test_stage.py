"""Around each stage: what a person can mend is one line, with the cure."""

import errno
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallset.datasets import lists
from smallset.images import batches
from smallset.pipeline import stage
from smallset.pipeline.errors import SmallsetError


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SmallsetError("a: b"), "a: b"),
        (OSError(errno.ENOSPC, "No space left on device", "x.npy"), "'x.npy'. The disk is full: make room, then dvc"),
        (MemoryError("Unable to allocate 2 GiB"), "not enough memory. Unable to allocate 2 GiB Close other programs"),
        (KeyboardInterrupt(), "interrupted. Go on with: dvc repro"),
    ],
)
def test_what_a_person_can_mend_is_one_line(error: BaseException, message: str) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        stage.run(main)
    assert message in str(ended.value)


def test_a_photo_that_broke_after_subset_is_named_with_the_cure(drawn: lists.Photos) -> None:
    broken = Path(drawn.paths()[3])
    broken.write_bytes(broken.read_bytes()[:100])

    def main() -> None:
        list(batches.load(drawn, 8, 2))

    with pytest.raises(SystemExit) as ended:
        stage.run(main)
    assert re.match(rf"\n.*: {broken}: does not decode as a photo: .*Run: dvc repro --force subset$", str(ended.value))


GRAPH = """
stages:
  linear:
    cmd: [python stages/larger.py, python stages/linear.py]
    params: [seed, precision]
    deps: [one.txt, photos, src/smallset/photos, src/smallset/training]
  evaluate:
    cmd: python stages/evaluate.py ${item.model}
"""


def arrange(monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """As DVC runs a script of a stage."""
    Path("dvc.yaml").write_text(GRAPH)
    Path("params.yaml").write_text("seed: 1\nprecision: auto\n")
    Path("one.txt").write_text("1")
    monkeypatch.setenv("DVC_STAGE", name)
    monkeypatch.setattr(sys, "argv", [script])
    stage.graph.cache_clear()


@pytest.mark.parametrize(
    ("name", "script", "expected"),
    [
        ("linear", "stages/larger.py", "larger"),
        ("linear", "stages/linear.py", "linear"),
        ("sub/dvc.yaml:linear", "stages/linear.py", "linear"),
        ("evaluate@pooled", "stages/evaluate.py", "evaluate@pooled"),
        ("", "stages/linear.py", "linear"),
    ],
)
def test_of_a_stage_of_several_commands_the_last_one_has_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, script: str, expected: str
) -> None:
    arrange(monkeypatch, name, script)
    assert stage.called() == expected
    stage.graph.cache_clear()


def test_what_several_stages_use_is_known_by_its_own_params_data_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    script, room = Path("larger.py"), Path("src/smallset/photos/a.py")
    for path in (script, room, Path("src/smallset/training/b.py"), Path("photos/c.jpg")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    arrange(monkeypatch, "linear", str(script))
    p = stage.load_params()
    deps = [Path("one.txt"), *stage.code(["photos", "frozen"])]
    assert deps[1:] == [script, room.parent]
    first = stage.checkpoint(Path("out"), p, deps)
    Path("src/smallset/training/b.py").write_text("# another dep of the stage, edited")
    assert stage.checkpoint(Path("out"), p, deps) == first
    assert stage.checkpoint(Path("out"), p.model_copy(update={"seed": 2}), deps) != first
    for path in (script, room, Path("one.txt")):
        before = path.read_text()
        path.write_text("# edited")
        assert stage.checkpoint(Path("out"), p, deps) != first
        path.write_text(before)
    stage.graph.cache_clear()


def test_what_nobody_foresaw_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        stage.run(lambda: print(1 / 0))


def test_what_a_failed_stage_had_made_is_checked_out_by_the_command_that_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def main() -> None:
        raise SmallsetError("/media/photos: expected a folder of photos, found nothing.")

    outs = "outs: ['data/raw', 'metrics/a.json': {cache: false}]"
    arrange(monkeypatch, "fill", "stages/fill.py")
    Path("dvc.yaml").write_text(f"stages: {{fill: {{cmd: python stages/fill.py, {outs}}}}}")
    stage.graph.cache_clear()
    known = "[{path: data/raw, md5: a.dir}, {path: metrics/a.json, md5: b}]"
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages: {{fill: {{cmd: x, outs: {known}}}}}")
    with pytest.raises(SystemExit) as ended:
        stage.run(main)
    assert str(ended.value).endswith("found nothing.\nDVC's cache has what it had made before: dvc checkout data/raw")
    (tmp_path / "data/raw").mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        stage.run(main)
    assert str(ended.value).endswith("found nothing.")
