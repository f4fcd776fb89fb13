"""What a result was made with is noted stage by stage, and a difference is put in words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from smallset.pipeline import provenance


def test_each_stage_keeps_its_own_facts(tmp_path: Path) -> None:
    path, here = tmp_path / "metrics/provenance.json", provenance.facts()
    provenance.record(path, "subset", here, "a", ["subset"])
    provenance.record(path, "convnet", here | {"tensorflow": "1.15"}, "b", ["subset", "convnet"])
    known = provenance.read(path)
    assert list(known) == ["convnet", "subset"]
    assert known["subset"] == here | {"results": "a"}
    assert provenance.differences(known["subset"], here) == ""
    assert provenance.differences(known["convnet"], here) == f"tensorflow 1.15, here {here['tensorflow']}"


def test_the_same_results_on_another_machine_leave_the_record_alone(tmp_path: Path) -> None:
    path, here = tmp_path / "provenance.json", provenance.facts()
    provenance.record(path, "subset", here, "a", ["subset"])
    before = path.read_bytes()
    provenance.record(path, "subset", here | {"threads": "96"}, "a", ["subset"])
    assert path.read_bytes() == before
    provenance.record(path, "subset", here | {"threads": "96"}, "b", ["subset"])
    assert provenance.read(path)["subset"]["threads"] == "96"


def test_every_run_is_a_line_of_the_log(tmp_path: Path) -> None:
    for seconds in (1.23, 60):
        provenance.log(tmp_path / "data/runs.jsonl", "subset", {"threads": "2"}, seconds)
    lines = [json.loads(line) for line in (tmp_path / "data/runs.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["seconds"], line["threads"]) for line in lines] == [
        ("subset", 1.2, "2"),
        ("subset", 60, "2"),
    ]


def test_what_is_no_stage_any_more_is_forgotten(tmp_path: Path) -> None:
    path, here = tmp_path / "provenance.json", provenance.facts()
    for name in ("seeds", "evaluate@convnet", "subset"):
        provenance.record(path, name, here, "a", ["evaluate", "seeds", "subset"])
    provenance.record(path, "subset", here, "b", ["evaluate", "subset"])
    assert list(provenance.read(path)) == ["evaluate@convnet", "subset"]


def test_threads_are_those_that_the_process_may_use() -> None:
    ask = "from smallset.pipeline import provenance; print(provenance.threads())"
    if hasattr(os, "sched_setaffinity"):
        one = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {ask}"
        assert subprocess.run([sys.executable, "-c", one], capture_output=True, text=True, check=True).stdout == "1\n"
    given = os.environ | {"TF_NUM_INTRAOP_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=given)
    assert done.stdout == "3\n"


def test_the_facts_have_what_the_bytes_depend_on() -> None:
    assert set(provenance.facts()) >= {"system", "processor", "threads", "python", "keras", "tensorflow", "numpy"}


@pytest.mark.parametrize("name", ["missing", "metrics"])
def test_without_a_record_nothing_is_known(tmp_path: Path, name: str) -> None:
    assert provenance.read(tmp_path / name) == {}


def test_the_processor_s_flags_are_read_where_the_system_tells(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("flags : fma avx512_bf16\n")
    assert "avx512_bf16" in provenance.processor_flags(tmp_path / "cpuinfo")
    assert provenance.processor_flags(tmp_path / "missing") == frozenset()
