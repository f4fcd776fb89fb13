"""Long work shows its progress: a bar on a terminal, lines in a log, nothing when it is short."""

import io
import sys
import time

import pytest

from smallset.pipeline import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None, interval: float) -> str:
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "INTERVAL", interval)
    for _ in progress.bar(range(4), what="decoding", unit=" photos"):
        time.sleep(0.02)
    return stderr.getvalue() if stderr else ""


def test_short_work_writes_nothing_to_a_log_and_long_work_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(monkeypatch, io.StringIO(), 30.0) == ""
    lines = show(monkeypatch, io.StringIO(), 0.01).splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("decoding: ") and "/4 [" in line and "\r" not in line for line in lines)
    assert "4/4" in lines[-1]


def test_a_terminal_has_a_bar_that_moves_and_work_goes_on_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    assert show(monkeypatch, Terminal(), 30.0).count("\r") >= 2
    assert show(monkeypatch, None, 30.0) == ""
