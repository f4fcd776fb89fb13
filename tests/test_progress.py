"""Long work says how far it has come: a bar for people, lines for a log, nothing when it is short."""

import io
import sys
import time

import pytest

from smallset.pipeline import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, every: float, items: int = 4) -> str:
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "EVERY", every)
    for _ in progress.bar(range(items), what="decoding", unit=" photos"):
        time.sleep(0.02)
    return stderr.getvalue()


def test_short_work_says_nothing_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO(), 30.0) == ""


def test_long_work_says_a_line_now_and_then_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, io.StringIO(), 0.01).splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("decoding: ") and "/4 [" in line and "\r" not in line for line in lines)
    assert "4/4" in lines[-1]


def test_a_terminal_has_a_bar_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), 30.0).count("\r") >= 2
