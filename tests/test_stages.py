"""The graph in dvc.yaml against the code: each stage declares the modules that it imports, and its own params."""

import ast
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from smallset.models import precision
from smallset.pipeline import params

ROOT = Path(__file__).parents[1]
PIPELINES = [".", "sample", "first-edition", "mnist"]
LEAN = "project"  # the graph of a project of one's own, from which `smallset init` makes one
GRAPHS = [".", LEAN]


def stages(pipeline: str) -> dict[str, dict[str, Any]]:
    name = "lean.yaml" if pipeline == LEAN else "dvc.yaml"
    declared: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / pipeline / name).read_text())["stages"]
    return declared


def keys(stage: dict[str, Any]) -> set[str]:
    """The keys of params.yaml that a stage declares, of seeds.classifier seeds."""
    return {key.partition(".")[0] for key in stage.get("params", [])}


def commands(stage: dict[str, Any]) -> list[list[str]]:
    """The words of each command of a stage, with paths from the root on."""
    listed = [stage["cmd"]] if isinstance(stage["cmd"], str) else stage["cmd"]
    return [command.replace("${root}/", "").split() for command in listed]


def dependencies(stage: dict[str, Any]) -> list[str]:
    """The deps of a stage, with paths from the root on."""
    return [dep.removeprefix("${root}/") for dep in stage["deps"]]


def outputs(stage: dict[str, Any]) -> set[str]:
    """The paths that a stage makes."""
    listed = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return {out if isinstance(out, str) else next(iter(out)) for out in listed}


def trains(name: str, stage: dict[str, Any]) -> bool:
    """True for a stage that makes the model of its name."""
    return f"models/{name}.keras" in outputs(stage)


STAGES = stages(".")
BOTH = [(graph, name) for graph in GRAPHS for name in stages(graph)]
MODELS = [(graph, name) for graph, name in BOTH if trains(name, stages(graph)[name])]
LEARNING = {name for name in STAGES if trains(name, STAGES[name]) or name.endswith("_seeds")}
LEARNING |= {"base", "activations", "features", "larger", "test_features"}  # or hours of the frozen part
SHARED = {"seed", "precision", "image", "augmentation"}
AUDITED = "metrics/audit/passed.txt"
OTHERS = {  # keys of other stages that one reads
    "side": {"base", "larger", "linear"},
    "linear": {"larger"},  # in a project, where each of these three makes data/larger, if it is missing
    "suspects": {"larger"},
    "learning_curve": {"larger", "linear"},
    "cross_validation": {"larger", "linear"},
    "pooled": {"larger"},
    "classifier_seeds": {"classifier"},
    "augmented_seeds": {"augmented"},
    "fine_tune_seeds": {"augmented", "fine_tune"},
    "pooled_seeds": {"pooled"},
}
CHAPTER = [
    *["download", "subset", "convnet", "convnet_augmented", "activations", "features"],
    *["classifier", "augmented", "fine_tune", "larger", "linear", "pooled", "evaluate", "test_features"],
    *["classifier_seeds", "augmented_seeds", "fine_tune_seeds", "pooled_seeds", "compare", "report"],
]


HARMLESS = {"pipeline"}  # it reads, checks and reports, and can change no result but whether there is one
ROOMS = ROOT / "src/smallset"


def modules(script: Path) -> set[Path]:
    """The modules of src/smallset that a script imports, and those that they import."""
    found: set[Path] = set()
    todo = [script]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            assert not (isinstance(node, ast.Import) and any("smallset" in alias.name for alias in node.names))
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "smallset":
                place = ROOT / "src" / (node.module or "").replace(".", "/")
                named = [place / f"{alias.name}.py" for alias in node.names] if place.is_dir() else []
                new = {path for path in named or [place.with_suffix(".py")] if path not in found}
                assert all(path.is_file() for path in new), (script, new)
                found |= new
                todo += new
    return found


@pytest.mark.parametrize(("graph", "name"), BOTH)
def test_a_stage_declares_exactly_the_rooms_that_can_change_its_result(graph: str, name: str) -> None:
    stage = stages(graph)[name]
    scripts = [words[1] for words in commands(stage)]
    imported = set().union(*(modules(ROOT / script) for script in scripts))
    rooms = {path.relative_to(ROOMS).parts[0] for path in imported} - HARMLESS
    code = [dep for dep in dependencies(stage) if dep.startswith(("stages/", "src/"))]
    assert code[: len(scripts)] == scripts
    assert sorted(code[len(scripts) :]) == sorted(f"src/smallset/{room}" for room in rooms)
    assert dependencies(stage)[-len(code) :] == code  # after the data


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("room", ["sources", "measures", "showing", "tools", "pipeline"])
def test_an_edit_where_photos_come_from_to_measures_to_what_is_shown_or_to_words_retrains_nothing(
    graph: str, room: str
) -> None:
    # What runs again because of it, but for stages that then find their results as they were (subset, audit).
    touched = {name for name, stage in stages(graph).items() if f"src/smallset/{room}" in dependencies(stage)}
    assert touched.isdisjoint(LEARNING), touched & LEARNING


def test_every_room_has_a_purpose_a_layer_and_a_line_in_contributing() -> None:
    rooms = {path.name for path in ROOMS.iterdir() if (path / "__init__.py").is_file()}
    assert all(ast.get_docstring(ast.parse((ROOMS / room / "__init__.py").read_text())) for room in rooms)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    layers = [room for layer in project["importlinter"]["contracts"][0]["layers"] for room in layer.split(" | ")]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert set(layers) == rooms
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == layers


def read(script: str, arguments: list[str]) -> set[str]:
    """The keys of params.yaml that a script reads, with those that it is told in its arguments: convnet, base."""
    text = (ROOT / script).read_text()
    told = arguments if "getattr(p, " in text else []
    return {*told} | {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "p"
    }


@pytest.mark.parametrize(("graph", "name"), [(graph, name) for graph, name in BOTH if not name.endswith("_seeds")])
def test_a_stage_declares_exactly_the_params_that_it_reads(graph: str, name: str) -> None:
    stage = stages(graph)[name]
    found = set().union(*(read(script, arguments) for _, script, *arguments in commands(stage)))
    assert found == keys(stage)
    assert found <= SHARED | {name} | OTHERS.get(name, set())


@pytest.mark.parametrize("name", [name for name in STAGES if name.endswith("_seeds")])
def test_the_seeds_of_one_model_do_not_hang_on_those_of_another(name: str) -> None:
    own = f"seeds.{name.removesuffix('_seeds')}"
    assert [key for key in STAGES[name]["params"] if key.startswith("seeds")] == [own]
    assert keys(STAGES[name]) == {"seed", "precision", "seeds"} | OTHERS[name]


def test_the_stages_are_the_chapter_in_its_order() -> None:
    assert [name for name in STAGES if name in CHAPTER] == CHAPTER
    assert all(stage["desc"].startswith("8.") and len(stage["desc"]) < 80 for stage in STAGES.values())


def before(graph: str, name: str) -> set[str]:
    """The stages that DVC runs before a stage, directly or not."""
    known = stages(graph)
    deps = known[name]["deps"]
    direct = {
        other
        for other, stage in known.items()
        if any(f"{out}/".startswith(f"{dep}/") for out in outputs(stage) for dep in deps)
    }
    direct.discard(name)  # report reads the folder of all metrics
    return direct.union(*(before(graph, other) for other in direct))


@pytest.mark.parametrize(("graph", "name"), MODELS)
def test_nothing_is_trained_before_the_audit_has_passed(graph: str, name: str) -> None:
    assert "audit" in before(graph, name)


@pytest.mark.parametrize(("graph", "name"), [*MODELS, *((graph, "learning_curve") for graph in GRAPHS)])
def test_no_model_is_made_from_test_photos(graph: str, name: str) -> None:
    found = (before(graph, name) | {name}) - {"subset", "audit"}
    reads = {dep for other in found for dep in stages(graph)[other]["deps"]}
    assert not {dep for dep in reads if "test" in dep or dep in ("metrics/subset", "data/subset")}


@pytest.mark.parametrize("graph", GRAPHS)
def test_nothing_is_chosen_by_cross_validation(graph: str) -> None:
    assert [name for name in stages(graph) if "cross_validation" in before(graph, name)] == ["report"]


@pytest.mark.parametrize(("graph", "name"), MODELS)
def test_outputs_of_a_model_leave_the_run_cache_on(graph: str, name: str) -> None:
    # DVC: an out with cache: false switches it off.
    assert all(isinstance(out, str) for out in stages(graph)[name]["outs"])


def test_all_that_a_project_makes_is_shared() -> None:
    # DVC: without an output that was not pushed, dvc pull fails and dvc repro runs its stage.
    assert "push: false" not in (ROOT / LEAN / "lean.yaml").read_text()


@pytest.mark.parametrize("pipeline", [*PIPELINES, LEAN])
def test_each_param_of_a_pipeline_has_a_stage(pipeline: str) -> None:
    declared = set().union(*(keys(stage) for stage in stages(pipeline).values()))
    assert params.read(ROOT / pipeline / "params.yaml").model_fields_set == declared


def test_scripts_are_thin() -> None:
    for script in (ROOT / "stages").glob("*.py"):
        text = script.read_text()
        [main] = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "main"]
        assert (main.end_lineno or 0) - main.lineno < 20, script
        assert len(text.splitlines()) <= 60, script


def as_in_the_reference(stage: dict[str, Any]) -> dict[str, Any]:
    """A stage of another pipeline with the names that the reference has: mnist's second convnet, whose photos."""
    renamed = yaml.safe_dump(stage).replace("convnet_unpooled", "convnet").replace("../data/raw", "data/raw")
    return {key: value for key, value in yaml.safe_load(renamed).items() if key != "desc"}


@pytest.mark.parametrize("pipeline", PIPELINES[1:])
def test_a_pipeline_folder_runs_the_shared_stages(pipeline: str) -> None:
    graph = stages(pipeline)
    for name, stage in graph.items():
        shared = as_in_the_reference(STAGES[name.removesuffix("_unpooled")])
        if "audit" not in graph:
            shared["deps"] = [dep for dep in shared["deps"] if dep != AUDITED]
        several = ("matrix", "cmd", "deps", "plots") if name in ("evaluate", "compare", "report") else ()
        for key, value in as_in_the_reference(stage).items():
            assert key in several or value == shared[key], (name, key)
    text = (ROOT / pipeline / "dvc.yaml").read_text()
    assert "\nvars:\n  - root: ..\n\nstages:\n" in text
    if pipeline == "sample":
        assert text == (ROOT / "dvc.yaml").read_text().replace("  - root: .\n", "  - root: ..\n")


@pytest.mark.parametrize("name", [name for name in stages(LEAN) if name not in ("base", "compare")])
def test_a_stage_of_a_project_leaves_what_the_chapter_s_does(name: str) -> None:
    # So that what reads it, the report for one, needs no other code.
    assert outputs(stages(LEAN)[name]) == outputs(STAGES[name])


def test_no_stage_depends_on_a_folder_in_which_dvc_keeps_a_gitignore() -> None:
    # Its lines change their order with what is checked out, and the folder's digest with them.
    cached = [
        path
        for stage in (*STAGES.values(), *stages(LEAN).values())
        for out in stage.get("outs", []) + stage.get("plots", [])
        for path, flags in ({out: {}} if isinstance(out, str) else out).items()
        if "cache" not in flags
    ]
    parents = {str(Path(out).parent) for out in cached}
    assert not [(name, dep) for name, stage in STAGES.items() for dep in stage["deps"] if dep in parents]


def test_no_file_is_a_link() -> None:
    # Windows, and a clone with core.symlinks=false, have none.
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if line.startswith("120000")]


@pytest.mark.parametrize("pipeline", [*PIPELINES, LEAN])
def test_compare_reads_what_every_model_of_the_pipeline_leaves(pipeline: str) -> None:
    declared = stages(pipeline)
    names = declared["evaluate"]["matrix"]["model"]
    assert declared["compare"]["cmd"].split()[2:] == names
    metrics = {f"metrics/{name}{part}" for name in names for part in (".json", "")} | {"metrics/subset/test.csv"}
    data = {f"data/seeds/{name}.npy" for name in names if f"{name}_seeds" in declared}
    own = {dep for dep in dependencies(declared["compare"]) if not dep.startswith(("stages/", "../", "src/"))}
    assert own == metrics | data


@pytest.mark.parametrize(("flags", "expected"), [("fma avx512_bf16", True), ("amx_bf16", True), ("avx512f", False)])
def test_bfloat16_is_found_in_the_processor_s_flags(flags: str, expected: bool) -> None:
    assert precision.has_bfloat16(flags.split()) is expected
