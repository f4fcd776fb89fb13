"""What a result was made with is noted stage by stage, and a difference is put in words."""

from pathlib import Path

import pytest

from smallset import provenance


def test_each_stage_keeps_its_own_facts(tmp_path: Path) -> None:
    path, here = tmp_path / "metrics/provenance.json", provenance.facts()
    provenance.record(path, "subset", here, 1.23, ["subset"])
    provenance.record(path, "convnet", here | {"tensorflow": "1.15"}, 60, ["subset", "convnet"])
    known = provenance.read(path)
    assert list(known) == ["convnet", "subset"]
    assert known["subset"] == here | {"seconds": 1.2}
    assert provenance.differences(known["subset"], here) == ""  # whatever it took
    assert provenance.differences(known["convnet"], here) == f"tensorflow 1.15, here {here['tensorflow']}"


def test_what_is_no_stage_any_more_is_forgotten(tmp_path: Path) -> None:
    path, here = tmp_path / "provenance.json", provenance.facts()
    for name in ("seeds", "evaluate@convnet", "subset"):
        provenance.record(path, name, here, 1, ["evaluate", "seeds", "subset"])
    provenance.record(path, "subset", here, 2, ["evaluate", "subset"])
    assert list(provenance.read(path)) == ["evaluate@convnet", "subset"]


def test_the_facts_have_what_the_bytes_depend_on() -> None:
    assert set(provenance.facts()) >= {"system", "processor", "threads", "python", "keras", "tensorflow", "numpy"}


@pytest.mark.parametrize("name", ["missing", "metrics"])
def test_without_a_record_nothing_is_known(tmp_path: Path, name: str) -> None:
    assert provenance.read(tmp_path / name) == {}


def test_the_processor_s_flags_are_read_where_the_system_tells(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("flags : fma avx512_bf16\n")
    assert "avx512_bf16" in provenance.processor_flags(tmp_path / "cpuinfo")
    assert provenance.processor_flags(tmp_path / "missing") == frozenset()
