"""Stages that are killed under DVC: nothing keeps running, and the next run ends with the same bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

ORPHAN = 5.0  # s, in which a stage ends after DVC
GRAPH = """
stages:
  count:
    cmd: python stages/count.py
    params: [seed]
    deps: [stages/count.py]
    outs: [models/count.txt]
"""
STAGE = '''
import sys, time
from pathlib import Path
import numpy as np
from smallset.pipeline import files, stage

OUTPUT = Path("models/count.txt")

def main():
    """Count to 12, a number each quarter of a second, and write a checkpoint after each."""
    checkpoint = stage.checkpoint(OUTPUT)
    numbers = list(checkpoint.read().get("numbers", []))
    print("continued" if numbers else "started", flush=True)
    for number in range(len(numbers), 12):
        time.sleep(0.25)
        numbers.append(number)
        checkpoint.write({"numbers": np.array(numbers)})
    files.write_text(OUTPUT, str([int(number) for number in numbers]))
    checkpoint.remove()

stage.run(main)
'''


class Pipeline:
    """A DVC repository with the stage above, which has run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.checkpoint = folder, folder / "models/.part.count.npz"
        self.groups: list[subprocess.Popen[bytes]] = []
        for name, text in {"dvc.yaml": GRAPH, "params.yaml": "seed: 1\n", "stages/count.py": STAGE}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        (folder / "models").mkdir()
        self.finish(self.start("init", "--no-scm", "--quiet"))
        self.finish(self.repro())
        self.expected = (folder / "models/count.txt").read_text()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """DVC in a process group of its own."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command, env = [sys.executable, "-m", "dvc", *arguments], os.environ | {"PATH": path}
        with (self.folder / f"log{len(self.groups)}").open("wb") as log:
            dvc = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True)
        self.groups.append(dvc)
        return dvc

    def repro(self) -> subprocess.Popen[bytes]:
        return self.start("repro", "--force", "--no-run-cache")

    def finish(self, dvc: subprocess.Popen[bytes]) -> str:
        """What DVC prints until it ends."""
        dvc.wait(timeout=120)
        output = (self.folder / f"log{self.groups.index(dvc)}").read_text()
        assert dvc.returncode == 0, output
        return output

    def stages(self, dvc: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The processes below DVC that run the stage's script, perhaps with a shell."""
        below = psutil.Process(dvc.pid).children(recursive=True)
        return [process for process in below if any("stages/count.py" in word for word in process.cmdline())]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture
def pipeline(finished: Pipeline) -> Iterator[Pipeline]:
    yield finished
    for group in finished.groups:
        if group.poll() is None:
            os.killpg(group.pid, signal.SIGKILL)
            group.wait()
    finished.groups.clear()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_ended(processes: list[psutil.Process], seconds: float = ORPHAN) -> None:
    _, alive = psutil.wait_procs(processes, seconds)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)  # nobody waits for an orphan here


@pytest.mark.parametrize(
    ("victim", "how"), [("dvc", signal.SIGKILL), ("stage", signal.SIGTERM), ("group", signal.SIGINT)]
)
def test_a_killed_stage_continues_to_the_same_bytes(pipeline: Pipeline, victim: str, how: signal.Signals) -> None:
    dvc = pipeline.repro()
    wait_for(pipeline.checkpoint.is_file)
    processes = pipeline.stages(dvc)
    if victim == "group":
        os.killpg(dvc.pid, how)
    else:
        (processes[-1] if victim == "stage" else psutil.Process(dvc.pid)).send_signal(how)
    dvc.wait(timeout=60)
    assert_ended(processes)
    assert {path.name for path in pipeline.checkpoint.parent.iterdir()} - {".gitignore"} == {pipeline.checkpoint.name}
    assert "continued" in pipeline.finish(pipeline.repro())
    assert (pipeline.folder / "models/count.txt").read_text() == pipeline.expected
    assert not pipeline.checkpoint.exists()


def test_a_stage_that_is_still_starting_ends_as_well(pipeline: Pipeline) -> None:
    dvc = pipeline.repro()
    wait_for(lambda: pipeline.stages(dvc))
    processes = pipeline.stages(dvc)
    dvc.kill()
    dvc.wait()
    assert_ended(processes, 60)  # after its imports
    assert not (pipeline.folder / "models/count.txt").exists()
