"""Ray: a real cluster of two nodes with a CPU each, on the loopback of a network namespace of its own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from smallset.pipeline import cluster
from smallset.pipeline.errors import SmallsetError

ADDRESS = "127.0.0.1:6399"
USER = [] if os.geteuid() == 0 else ["-U"]
ALONE = ["unshare", "-n", *(["-r"] if USER else []), "sh", "-c", "ip link set lo up && echo up && exec sleep 900"]
SQUARES = "[0, 1, 4, 9]"


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SmallsetError, match=r"auto: a cluster needs Ray, .* pip install .*\[ray\]"):
        list(cluster.results(lambda: str, range(3), "item", "auto"))


def test_the_option_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cluster.VARIABLE, raising=False)
    assert cluster.address() == ""
    monkeypatch.setenv(cluster.VARIABLE, "auto")
    assert (cluster.address(), cluster.address("host:1")) == ("auto", "host:1")
    assert list(cluster.results(lambda: str, [], "item")) == []
    assert cluster.workers() == {}


class Nodes:
    """Two nodes, the first with the cluster's head, and the programs that run beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, list[psutil.Popen]()
        self.inside: list[str] = []
        holder = self.start(ALONE, stdout=subprocess.PIPE)
        with holder.stdout as output:
            if output.readline() != b"up\n":
                self.stop()
                pytest.skip("no network namespace is possible here: unshare -n is not permitted")
        self.inside = ["nsenter", *USER, *(["--preserve-credentials"] if USER else []), "-n", "-t", str(holder.pid)]
        self.node("--head", "--port=6399", "--include-dashboard=false", f"--temp-dir={folder}")
        self.node(f"--address={ADDRESS}")

    def start(self, command: list[str], **options: Any) -> psutil.Popen:
        variables = {"RAY_USAGE_STATS_ENABLED": "0", "TF_NUM_INTRAOP_THREADS": "1"}
        self.started.append(psutil.Popen([*self.inside, *command], env=os.environ | variables, **options))
        return self.started[-1]

    def node(self, *arguments: str) -> None:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        log = self.folder / f"log{len(self.started)}"
        with log.open("wb") as file:
            process = self.start([*ray, "--object-store-memory=80000000", *arguments], stdout=file, stderr=file)
        end = time.monotonic() + 90
        while b"Ray runtime started" not in log.read_bytes():
            assert time.monotonic() < end, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.3)

    def run(self, *cases: str, address: str = ADDRESS) -> tuple[list[str], list[str]]:
        """The lines that tests/clustered.py prints, and the deaths that it reports."""
        variables = {"TF_NUM_INTRAOP_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", cluster.VARIABLE: address}
        command = [*self.inside, sys.executable, str(Path(__file__).with_name("clustered.py")), *cases]
        options: dict[str, Any] = {"cwd": self.folder, "env": os.environ | variables, "timeout": 240}
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not re.search(r"\(raylet\)|network_util\.cc", done.stdout + done.stderr)  # Ray's own messages
        output = [line.removeprefix("= ") for line in done.stdout.splitlines() if line.startswith("= ")]
        return output, [line for line in done.stderr.splitlines() if line.startswith("A worker")]

    def stop(self) -> None:
        alive = [process for process in self.started if process.is_running()]
        below = [inner for process in alive for inner in process.children(recursive=True)]
        for process in [*alive, *below]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for process in self.started:
            process.wait()
        psutil.wait_procs(below, timeout=10)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[ray]"')
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("no network namespace is possible here: unshare, nsenter and ip are needed")
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # a socket's path must be short
    nodes = Nodes(folder)
    yield nodes
    nodes.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_results_come_in_the_order_of_the_items_and_a_dead_worker_costs_none(nodes: Nodes) -> None:
    (ordered, repeated, hosts), deaths = nodes.run("square", "worker")
    assert ordered == repeated == SQUARES
    assert len(deaths) >= 1
    assert all(line.startswith("A worker of the cluster died at item ") for line in deaths)
    assert " x " in hosts


@pytest.mark.slow
def test_what_cannot_continue_ends_with_its_reason(nodes: Nodes) -> None:
    (poison, fail, missing, crowded, other, _), deaths = nodes.run("poison", "fail", "missing", "crowded", "other")
    assert [line[:43] for line in deaths] == ["A worker of the cluster died at item 3 of 4"] * 2
    assert poison.startswith("3 workers of the cluster died at item 3 of 4. The last error: ")
    assert fail.endswith("does not decode")
    assert missing.startswith("A worker cannot start: ModuleNotFoundError: No module named 'nowhere'. Install the same")
    assert "started no worker in 2 s. A worker needs 3 CPUs of one node" in crowded
    assert "the nodes have [1, 1]" in crowded
    assert ": it has processor " in other


@pytest.mark.slow
def test_an_address_without_a_cluster_is_one_line(nodes: Nodes) -> None:
    (line, hosts), _ = nodes.run("square", address="127.0.0.1:6398")
    assert "127.0.0.1:6398: no Ray cluster answers (" in line
    assert hosts == "none"


@pytest.mark.slow
def test_features_are_those_of_a_single_process(nodes: Nodes) -> None:
    (result, hosts), _ = nodes.run("features")
    assert result == "equal"
    assert hosts != "none"


@pytest.mark.slow
def test_a_node_may_die_with_all_its_processes(nodes: Nodes) -> None:
    (results, _), deaths = nodes.run("node")
    assert deaths
    assert results == SQUARES
