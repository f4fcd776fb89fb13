"""The graph in dvc.yaml against the code: each stage declares the modules that it imports, and its own params."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from smallset import params, runtime

ROOT = Path(__file__).parents[1]
PIPELINES = [".", "sample", "first-edition", "mnist"]


def stages(pipeline: str) -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / pipeline / "dvc.yaml").read_text())["stages"]
    return declared


def keys(stage: dict[str, Any]) -> set[str]:
    """The keys of params.yaml that a stage declares, of seeds.classifier seeds."""
    return {key.partition(".")[0] for key in stage.get("params", [])}


STAGES = stages(".")
SHARED = {"seed", "precision", "image", "augmentation"}
AUDITED = "metrics/audit/passed.txt"
OTHERS = {  # keys of other stages that one reads
    "base": {"larger"},
    "classifier_seeds": {"classifier", "seeds"},
    "augmented_seeds": {"augmented", "seeds"},
    "fine_tune_seeds": {"augmented", "fine_tune", "seeds"},
    "pooled_seeds": {"pooled", "seeds"},
}
CHAPTER = [
    *["download", "subset", "convnet", "convnet_augmented", "activations", "features"],
    *["classifier", "augmented", "fine_tune", "larger", "pooled", "evaluate"],
    *["classifier_seeds", "augmented_seeds", "fine_tune_seeds", "pooled_seeds", "compare", "report"],
]


# What reads, checks and reports, and can change no result but whether there is one. __init__ only sets a log level.
HARMLESS = {f"src/smallset/{name}.py" for name in ("errors", "params", "provenance", "stage")}


def modules(script: Path) -> set[str]:
    """The modules of src/smallset that a script imports, and those that they import."""
    found: set[str] = set()
    todo = [script]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "smallset":
                inner = (node.module or "").partition(".")[2]
                names = [inner] if inner else [alias.name for alias in node.names]
                todo += [ROOT / f"src/smallset/{name}.py" for name in names if f"src/smallset/{name}.py" not in found]
                found.update(f"src/smallset/{name}.py" for name in names)
            assert not (isinstance(node, ast.Import) and any("smallset" in alias.name for alias in node.names))
    return found


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_modules_that_can_change_its_result(name: str) -> None:
    script = STAGES[name]["cmd"].split()[1]
    declared = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert declared == {script, *modules(ROOT / script)} - HARMLESS


def script_takes_its_name(name: str) -> bool:
    """True for convnet, which reads the params of the model that it is told to train."""
    return "getattr(p, name)" in (ROOT / STAGES[name]["cmd"].split()[1]).read_text()


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_params_that_it_reads(name: str) -> None:
    script = (ROOT / STAGES[name]["cmd"].split()[1]).read_text()
    read = {
        node.attr
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "p"
    }
    named = {name} if script_takes_its_name(name) else set()
    assert read | named == keys(STAGES[name])
    assert read <= SHARED | {name} | OTHERS.get(name, set())


@pytest.mark.parametrize("name", [name for name in STAGES if name.endswith("_seeds")])
def test_the_seeds_of_one_model_do_not_hang_on_those_of_another(name: str) -> None:
    own = f"seeds.{name.removesuffix('_seeds')}"
    assert [key for key in STAGES[name]["params"] if key.startswith("seeds")] == [own]
    script = (ROOT / STAGES[name]["cmd"].split()[1]).read_text()
    assert re.findall(r"p\.(seeds\.\w+)", script) == [own]


def test_the_stages_are_the_chapter_in_its_order() -> None:
    assert [name for name in STAGES if name in CHAPTER] == CHAPTER
    assert all(stage["desc"].startswith("8.") and len(stage["desc"]) < 80 for stage in STAGES.values())


def outputs(name: str) -> set[str]:
    """The paths that a stage makes."""
    listed = [out for kind in ("outs", "metrics", "plots") for out in STAGES[name].get(kind, [])]
    return {out if isinstance(out, str) else next(iter(out)) for out in listed}


def before(name: str) -> set[str]:
    """The stages that DVC runs before a stage, directly or not."""
    direct = {other for other in STAGES if outputs(other) & set(STAGES[name]["deps"])}
    return direct.union(*(before(other) for other in direct))


@pytest.mark.parametrize("name", [name for name in STAGES if f"models/{name}.keras" in outputs(name)])
def test_nothing_is_trained_before_the_audit_has_passed(name: str) -> None:
    assert "audit" in before(name)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_each_param_of_a_pipeline_has_a_stage(pipeline: str) -> None:
    declared = set().union(*(keys(stage) for stage in stages(pipeline).values()))
    assert params.read(ROOT / pipeline / "params.yaml").model_fields_set == declared


def test_scripts_are_thin() -> None:
    for script in (ROOT / "stages").glob("*.py"):
        assert len(script.read_text().splitlines()) <= 40, script


@pytest.mark.parametrize("pipeline", PIPELINES[1:])
def test_a_pipeline_folder_shares_the_stages(pipeline: str) -> None:
    # DVC reads no link in a git revision: with a linked dvc.yaml it would compare neither branches nor experiments.
    assert not (ROOT / pipeline / "dvc.yaml").is_symlink()
    for name in ("stages", "src"):
        assert (ROOT / pipeline / name).resolve() == ROOT / name
    graph = stages(pipeline)
    for name, stage in graph.items():
        # mnist has the convnet a second time, under another name; the first edition takes the reference's photos.
        text = yaml.safe_dump(stage).replace("convnet_unpooled", "convnet").replace("../data/raw", "data/raw")
        shared = STAGES[name.removesuffix("_unpooled")]
        wanted = yaml.safe_load(text)
        if AUDITED in shared["deps"] and "audit" not in graph:
            wanted["deps"].insert(shared["deps"].index(AUDITED), AUDITED)
        for key, value in wanted.items():
            if key != "desc" and not (name in ("evaluate", "compare", "report") and key in ("matrix", "cmd", "deps")):
                assert value == shared[key], (name, key)
    if pipeline == "sample":
        assert (ROOT / "sample/dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_compare_reads_what_every_model_of_the_pipeline_leaves(pipeline: str) -> None:
    declared = stages(pipeline)
    names = declared["evaluate"]["matrix"]["model"]
    assert declared["compare"]["cmd"].split()[2:] == names
    metrics = {f"metrics/{name}{part}" for name in names for part in (".json", "/history.csv", "/predictions.csv")}
    metrics |= {f"metrics/{name}/runs.csv" for name in names if f"{name}_seeds" in declared}
    assert {dep for dep in declared["compare"]["deps"] if dep.startswith("metrics/")} == metrics


@pytest.mark.parametrize(("flags", "expected"), [("fma avx512_bf16", True), ("amx_bf16", True), ("avx512f", False)])
def test_bfloat16_is_found_in_the_processor_s_flags(flags: str, expected: bool) -> None:
    assert runtime.has_bfloat16(flags.split()) is expected
