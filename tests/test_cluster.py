"""Ray: a real cluster of two nodes with a CPU each, on the loopback of a network namespace of its own."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import psutil
import pytest
import yaml

from smallset.datasets import lists, synthetic
from smallset.models import model_file
from smallset.pipeline import cluster, files
from smallset.pipeline.errors import SmallsetError

ROOT = Path(__file__).parents[1]
ADDRESS = "127.0.0.1:6399"
USER = [] if os.geteuid() == 0 else ["-U"]


def test_without_ray_a_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SmallsetError, match=r'auto: a cluster needs Ray\. Run: pip install "smallset\[ray\]"'):
        list(cluster.results(lambda: str, range(3), "item", "auto"))


def test_the_address_is_the_given_one_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cluster.VARIABLE, raising=False)
    assert cluster.address() == ""
    monkeypatch.setenv(cluster.VARIABLE, "auto")
    assert (cluster.address(), cluster.address("host:1")) == ("auto", "host:1")
    assert list(cluster.results(lambda: str, [], "item")) == []


class Nodes:
    """Two raylets, the first with the cluster's head, and what is run beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, list[psutil.Popen]()
        self.inside: list[str] = []
        alone = [
            "unshare",
            "-n",
            *(["-r"] if USER else []),
            "sh",
            "-c",
            "ip link set lo up && echo up && exec sleep 900",
        ]
        holder = self.start(alone, stdout=subprocess.PIPE)
        with holder.stdout as said:
            up = said.readline() == b"up\n"
        if not up:
            self.stop()
            pytest.skip("no network namespace can be made here: unshare -n is not permitted")
        self.inside = ["nsenter", *USER, *(["--preserve-credentials"] if USER else []), "-n", "-t", str(holder.pid)]
        self.node("--head", "--port=6399", "--include-dashboard=false", f"--temp-dir={folder}")
        self.second = self.node(f"--address={ADDRESS}")

    def start(self, command: list[str], **how: Any) -> psutil.Popen:
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "TF_NUM_INTRAOP_THREADS": "1"}
        process = psutil.Popen([*self.inside, *command], env=environment, **how)
        self.started.append(process)
        return process

    def node(self, *arguments: str) -> psutil.Popen:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        with (self.folder / "log").open("ab") as log:
            process = self.start([*ray, "--object-store-memory=80000000", *arguments], stdout=log, stderr=log)
        end = time.monotonic() + 90
        while b"Ray runtime started" not in (self.folder / "log").read_bytes().rpartition(b"Local node IP")[2]:
            assert time.monotonic() < end, (self.folder / "log").read_text()
            assert process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.3)
        (self.folder / "log").write_bytes(b"")
        return process

    def run(self, *command: str, where: str = ADDRESS, code: int = 0, cwd: Path = ROOT) -> str:
        """What a command in the namespace says."""
        known = {"TF_NUM_INTRAOP_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", cluster.VARIABLE: where}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        here = [*self.inside, *command]
        done = subprocess.run(
            here,
            cwd=cwd,
            env=os.environ | known | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        return said

    def job(self, name: str, folder: Path, *fault: str, where: str = ADDRESS, code: int = 0) -> str:
        return self.run(sys.executable, "tests/clustered.py", name, str(folder), *fault, where=where, code=code)

    def again(self) -> None:
        """A second node, in place of one that was killed."""
        end_all([self.second])
        self.second = self.node(f"--address={ADDRESS}")

    def stop(self) -> None:
        end_all(self.started)


def end_all(processes: list[psutil.Popen]) -> None:
    """End these processes and those that they have started, by their ids."""
    alive = [process for process in processes if process.is_running()]
    below = [inner for process in alive for inner in process.children(recursive=True)]
    for process in [*alive, *below]:
        with pytest.MonkeyPatch.context():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
    for process in processes:
        process.wait()
    psutil.wait_procs(below, timeout=10)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[ray]"')
    if not shutil.which("unshare") or not shutil.which("nsenter") or not shutil.which("ip"):
        pytest.skip("no network namespace can be made here: unshare, nsenter and ip are needed")
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # a socket has no long path
    started = Nodes(folder)
    yield started
    started.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, nodes: Nodes) -> Path:
    """Photos, and what each job makes of them in one process without a cluster."""
    folder = tmp_path_factory.mktemp("jobs")
    synthetic.draw(folder / "photos", 10, 40, seed=0)
    nodes.job("here", folder / "here", where="")
    return folder


def md5s(folder: Path) -> dict[str, str]:
    """Of a job's results, without drafts and checkpoints."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".part"))
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest() for path in found}  # noqa: S324


@pytest.mark.slow
@pytest.mark.parametrize("name", ["extract", "predict", "seeds"])
def test_results_are_those_of_one_process_whatever_dies(name: str, nodes: Nodes, folder: Path) -> None:
    fault = {"extract": "worker", "predict": "driver", "seeds": "worker"}[name]
    there, killed = folder / f"{name}-there", fault == "driver"
    nodes.job(name, there, fault, code=-signal.SIGKILL if killed else 0)
    if killed:
        shards = {path.name: path.stat().st_mtime_ns for path in there.rglob("*.parquet")}
        assert shards
        assert "manifest.json" in {path.name for path in (there / "labels").iterdir()}
        nodes.job(name, there)
        assert shards.items() <= {path.name: path.stat().st_mtime_ns for path in there.rglob("*.parquet")}.items()
    else:
        assert (there / ".part.worker").exists()
    assert md5s(there) == md5s(folder / f"{name}-here")


@pytest.mark.slow
def test_a_driver_that_was_killed_finds_the_shards_that_are_there(nodes: Nodes, folder: Path) -> None:
    there = folder / "extract-driver"
    nodes.job("extract", there, "driver", code=-signal.SIGKILL)
    assert list(there.glob(".part.train.train.0*.npz"))
    nodes.job("extract", there)
    assert md5s(there) == md5s(folder / "extract-here")
    assert not list(there.glob(".part.train.train.*"))


@pytest.mark.slow
def test_results_come_in_order_and_what_cannot_go_on_ends_with_its_reason(nodes: Nodes) -> None:
    lines = nodes.run(sys.executable, "tests/unruly.py").splitlines()
    own = [line for line in lines if "(raylet)" not in line and not line.startswith("[")]  # not what Ray logs
    killed, failed, lacking, crowded, other = own
    assert killed.startswith("The cluster's workers died 3 times at item 2: ")
    assert failed.endswith("is none")
    assert lacking.startswith("A worker cannot begin: ModuleNotFoundError: No module named 'nowhere'. Install the same")
    assert "has started no worker in 2 s: a worker asks for 3 CPUs of one node" in crowded
    assert "the nodes have [1, 1]" in crowded
    assert ": it has processor " in other


@pytest.mark.slow
def test_where_no_cluster_is_one_line_says_so(nodes: Nodes) -> None:
    said = nodes.run(sys.executable, "tests/unruly.py", where="127.0.0.1:6398", code=1)
    assert said.count("\n") == 1
    assert "127.0.0.1:6398: no Ray cluster answers there" in said


@pytest.mark.slow
def test_a_stage_under_dvc_ends_with_the_same_lock(nodes: Nodes, tmp_path: Path) -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text().replace("${root}", "."))["stages"]["test_features"]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"test_features": stage}}))
    for name in ("stages", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    synthetic.draw(tmp_path / "data/subset/test", 5, 40, seed=0)
    found = lists.digested(lists.find(tmp_path / "data/subset/test"))
    files.write_csv(tmp_path / "metrics/subset/test.csv", found.table())
    for name, depth in {"trunk": 3, "larger/trunk": 3, "top": 6}.items():
        inputs = keras.Input((8, 8, depth))
        part = keras.Model(inputs, keras.layers.Conv2D(6, 3, padding="same")(inputs), name=Path(name).name)
        model_file.save(part, tmp_path / f"models/base/{name}.keras")
    dvc = [sys.executable, "-m", "dvc"]
    nodes.run(*dvc, "init", "--no-scm", "--quiet", cwd=tmp_path)
    nodes.run("env", f"PYTHONPATH={tmp_path / 'src'}", *dvc, "repro", where="", cwd=tmp_path)
    here = (tmp_path / "dvc.lock").read_text()
    (tmp_path / "dvc.lock").unlink()
    said = nodes.run("env", f"PYTHONPATH={tmp_path / 'src'}", *dvc, "repro", "--force", cwd=tmp_path)
    assert (tmp_path / "dvc.lock").read_text() == here, said
    assert '"ray": "' in (tmp_path / "data/runs.jsonl").read_text().splitlines()[-1]


@pytest.mark.slow
def test_results_are_the_same_when_a_whole_node_dies(nodes: Nodes, folder: Path) -> None:
    there = folder / "extract-node"
    nodes.job("extract", there, "node")
    assert (there / ".part.node").exists()
    assert md5s(there) == md5s(folder / "extract-here")
