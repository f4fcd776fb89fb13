"""An end for a stage whose DVC has ended: killed, DVC leaves its stages running."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress

import psutil

PATIENCE = 2.0  # s, for which a stage that is told to end may clear up


def start() -> None:
    """Watch from now on, beside whatever else this process does.

    Until stage.run takes over, Ctrl-C ends the process at once: the import of TensorFlow swallows a KeyboardInterrupt.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=follow, daemon=True).start()


def runner() -> psutil.Process:
    """The process that runs the stage: DVC, above the shell that it may have put in between."""
    script = sys.argv[0]
    return next(above for above in psutil.Process().parents() if not any(script in word for word in above.cmdline()))


def follow() -> None:
    """Wait until DVC has ended, then end this process: DVC leaves its stages running when it is killed."""
    with suppress(psutil.NoSuchProcess, ProcessLookupError, StopIteration):
        dvc = runner()
        while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE and together(dvc):
            time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)  # the main thread is deep in TensorFlow; its drafts count for nothing, and the next run clears them


def together(dvc: psutil.Process) -> bool:
    """Whether this is DVC: its stages are in its process group. If it ended early, the ancestor is another process."""
    return not hasattr(os, "getpgid") or os.getpgid(dvc.pid) == os.getpgrp()  # Windows has no groups
