"""Stages that are killed under DVC: nothing is left running, and the next run ends with the same bytes."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from pipelines import Pipeline

pytestmark = pytest.mark.slow

ORPHAN = 5.0  # s, within which a stage ends when DVC has


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A pipeline of which convnet has run, long enough to be killed."""
    pipeline = Pipeline(tmp_path_factory.mktemp("pipeline"))
    pipeline.set("convnet", "epochs", 6)
    pipeline.repro("convnet")
    return pipeline


@pytest.fixture
def started(pipeline: Pipeline) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a stage anew under DVC, in a process group of its own."""
    groups: list[subprocess.Popen[bytes]] = []

    def start(stage: str) -> subprocess.Popen[bytes]:
        command = ["dvc", "repro", "--force", "--no-run-cache", "--single-item", stage]
        groups.append(pipeline.start(*command))
        return groups[-1]

    yield start
    for group in groups:
        if group.poll() is None:
            os.killpg(group.pid, signal.SIGKILL)
            group.wait()


def waited(condition: Callable[[], object], seconds: float) -> bool:
    """Whether a condition holds within the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def stages_of(dvc: subprocess.Popen[bytes], script: str) -> list[psutil.Process]:
    """The processes below DVC that run a script, a shell among them."""
    below = psutil.Process(dvc.pid).children(recursive=True)
    return [process for process in below if any(script in word for word in process.cmdline())]


@pytest.mark.parametrize(
    ("whom", "how"),
    [("dvc", signal.SIGKILL), ("stage", signal.SIGTERM)],
)
def test_a_killed_training_goes_on_to_the_same_bytes(
    pipeline: Pipeline, started: Callable[[str], subprocess.Popen[bytes]], whom: str, how: signal.Signals
) -> None:
    expected = pipeline.md5s()
    models = pipeline.folder / "models"
    dvc = started("convnet")
    assert waited((models / ".part.convnet.npz").is_file, 120)
    processes = stages_of(dvc, "stages/convnet.py")
    (processes[-1] if whom == "stage" else psutil.Process(dvc.pid)).send_signal(how)
    dvc.wait(timeout=60)
    _, alive = psutil.wait_procs(processes, ORPHAN)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)  # nobody waits for an orphan here
    assert [path.name for path in models.iterdir() if path.name != ".gitignore"] == [".part.convnet.npz"]
    answer = pipeline.run("dvc", "repro", "--force", "--no-run-cache", "--single-item", "convnet")
    assert "after epoch" in answer
    assert pipeline.md5s() == expected
    assert not (models / ".part.convnet.npz").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])  # of dvc alone, or as Ctrl-C of the group
def test_a_stage_that_is_still_starting_ends_as_well(
    pipeline: Pipeline, started: Callable[[str], subprocess.Popen[bytes]], how: signal.Signals
) -> None:
    dvc = started("convnet")
    assert waited(lambda: stages_of(dvc, "stages/convnet.py"), 60)
    processes = stages_of(dvc, "stages/convnet.py")
    if how == signal.SIGINT:
        # Python itself now and then loses a Ctrl-C before smallset, of which the second thread tells, has begun.
        assert waited(lambda: any(process.num_threads() > 1 for process in processes), 60)
        os.killpg(dvc.pid, how)
    else:
        dvc.send_signal(how)
    dvc.wait()
    _, alive = psutil.wait_procs(processes, 60)  # after its imports
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)
    assert not (pipeline.folder / "models/convnet.keras").exists()


def test_a_second_run_in_one_folder_stops_with_a_message_and_disturbs_nothing(
    pipeline: Pipeline, started: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    expected = pipeline.md5s()
    first = started("convnet")
    assert waited(lambda: stages_of(first, "stages/convnet.py"), 60)
    answer = pipeline.run("dvc", "repro", "--force", "--single-item", "convnet", code=255)
    assert "is busy, it is being blocked by" in answer
    assert first.wait() == 0
    assert pipeline.md5s() == expected
