"""End a stage when DVC has died: a killed DVC leaves its stages running."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress

import psutil

PATIENCE = 2.0  # s, in which a stage may clean up after SIGTERM


def start() -> None:
    """Watch DVC from a thread of this process."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    """Wait until the `dvc repro` above this process has ended, then end this process."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError, StopIteration):
        dvc = _find_dvc()
        while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE and _shares_group(dvc):
            time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)  # the main thread is inside TensorFlow; the next run removes its drafts


def _find_dvc() -> psutil.Process:
    """DVC's process: the nearest one above the shell that DVC may have started for the stage's command."""
    return next(above for above in psutil.Process().parents() if not _is_shell(above))


def _is_shell(process: psutil.Process) -> bool:
    """Whether this is `sh -c COMMAND` with the command of this process."""
    option, command = ["", "", *process.cmdline()][-2:]
    return option == "-c" and (" ".join(sys.argv[1:]) or sys.argv[0]) in command


def _shares_group(dvc: psutil.Process) -> bool:
    """Whether this is DVC, whose stages are in its process group, and not an ancestor of a DVC that has ended."""
    return os.getpgid(dvc.pid) == os.getpgrp()
