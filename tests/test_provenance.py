"""Each stage's record of what its results were made with, and the log of all runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

from smallset.pipeline import provenance


def test_each_stage_has_its_own_facts_until_it_leaves_the_graph(tmp_path: Path) -> None:
    path, facts = tmp_path / "metrics/provenance.json", provenance.facts()
    assert provenance.read(path) == {}
    provenance.record(path, "subset", facts, "a", ["subset"])
    provenance.record(path, "evaluate@convnet", facts | {"tensorflow": "1.15"}, "b", ["subset", "evaluate"])
    record = provenance.read(path)
    assert list(record) == ["evaluate@convnet", "subset"]
    assert record["subset"] == facts | {"results": "a"}
    assert provenance.differences(record["subset"], facts) == ""
    assert provenance.differences(record["evaluate@convnet"], facts) == f"tensorflow 1.15, here {facts['tensorflow']}"
    assert provenance.differences({}, {"threads": "2"}) == ""
    provenance.record(path, "subset", facts, "b", ["subset"])
    assert list(provenance.read(path)) == ["subset"]


def test_the_same_results_on_another_machine_do_not_change_the_record(tmp_path: Path) -> None:
    path, facts = tmp_path / "provenance.json", provenance.facts()
    provenance.record(path, "subset", facts, "a", ["subset"])
    before = path.read_bytes()
    provenance.record(path, "subset", facts | {"threads": "96"}, "a", ["subset"])
    assert path.read_bytes() == before
    provenance.record(path, "subset", facts | {"threads": "96"}, "b", ["subset"])
    assert provenance.read(path)["subset"]["threads"] == "96"


def test_every_run_is_a_line_of_the_log(tmp_path: Path) -> None:
    for seconds in (1.23, 60):
        provenance.log(tmp_path / "data/runs.jsonl", "subset", {"threads": "2"}, seconds)
    lines = [json.loads(line) for line in (tmp_path / "data/runs.jsonl").read_text().splitlines()]
    assert [line["seconds"] for line in lines] == [1.2, 60]
    assert {(line["stage"], line["threads"]) for line in lines} == {("subset", "2")}


def test_the_facts_name_the_processor_and_the_threads_that_the_process_may_use(tmp_path: Path) -> None:
    assert set(provenance.facts()) >= {"system", "processor", "threads", "python", "smallset", "tensorflow", "numpy"}
    (tmp_path / "cpuinfo").write_text("flags : fma avx512_bf16\n")
    assert "avx512_bf16" in provenance.processor_flags(tmp_path / "cpuinfo")
    assert provenance.processor_flags(tmp_path / "missing") == frozenset()
    code = "from smallset.pipeline import provenance; print(provenance.threads())"
    limit = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {code}"
    for command, variables, expected in ((limit, {}, "1\n"), (code, {"TF_NUM_INTRAOP_THREADS": "3"}, "3\n")):
        output = subprocess.check_output([sys.executable, "-c", command], text=True, env=os.environ | variables)
        assert output == expected
