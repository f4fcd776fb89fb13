"""Around each stage: what a person can mend is one line, with the cure."""

import errno
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from smallset.photos import images, lists
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
        list(images.load(drawn, 8, 2))

    with pytest.raises(SystemExit) as ended:
        stage.run(main)
    assert re.match(rf"\n.*: {broken}: does not decode as a photo: .*Run: dvc repro --force subset$", str(ended.value))


def test_what_nobody_foresaw_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        stage.run(lambda: print(1 / 0))


def test_an_end_on_request_clears_up(tmp_path: Path) -> None:
    def main() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            (tmp_path / "cleared").touch()

    with pytest.raises(SystemExit, match="ended by SIGTERM. Go on with: dvc repro"):
        stage.run(main)
    assert (tmp_path / "cleared").exists()
