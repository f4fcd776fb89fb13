"""The graphs that are derived from others. `python tests/graphs.py` writes them again; a test compares them.

sample/ has the chapter's graph: its params.yaml lists only what differs, and its stages take all other keys from
../params.yaml. beyond-the-book/ has the graph that `smallset init` writes, on the chapter's photos.
"""

import ast
import re
import textwrap
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/smallset"
TEMPLATE = PACKAGE / "project/dvc.yaml"
MODELS = ["convnet", "convnet_augmented", "classifier", "augmented", "fine_tune"]
HEAD = """\
# A linear probe and a fine-tuned model on a modern backbone, for the chapter's photos and splits: the graph that
# `smallset init` writes, with three differences. Its splits are the folders of ../data/subset, its report compares its
# models with the book's five, and its stages depend on smallset's code, which changes in this repository.
# Written by `python tests/graphs.py`.
"""


def sample() -> str:
    """The chapter's graph for the folder sample/."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8").replace("  - root: .\n", "  - root: ..\n")
    changed = set(yaml.safe_load((ROOT / "sample/params.yaml").read_text(encoding="utf-8")))

    def split(match: re.Match[str]) -> str:
        keys = match[1].split(", ")
        shared = [key for key in keys if key not in changed]
        entries = [key for key in keys if key in changed]
        if shared:
            entries.append("{../params.yaml: [" + ", ".join(shared) + "]}")
        return f"params: [{', '.join(entries)}]"

    return re.sub(r"params: \[(.*)\]", split, text)


def beyond_the_book() -> str:
    """The graph of a project for the folder beyond-the-book/."""
    template = TEMPLATE.read_text(encoding="utf-8")
    head, *stages = re.split(r"(?m)^  (?=\w+:$)", template[template.index("stages:\n") :])
    return HEAD + "\n" + head + "".join(f"  {adapt(stage)}" for stage in stages)


def adapt(stage: str) -> str:
    """A stage of the template on the chapter's photos, with the code that it imports among its deps."""
    name = stage.partition(":")[0]
    stage = stage.replace("smallset run split", "smallset run split ../data/subset")
    stage = stage.replace("smallset run report", "smallset run report ../metrics")
    data = re.search(r"deps: \[([^\]]*)\]", stage)
    assert data is not None
    deps = [dep.strip() for dep in data[1].split(",")]
    deps = ["../data/subset" if dep == "photos" else dep for dep in deps]
    if name == "report":
        deps += [f"../metrics/{model}{end}" for model in MODELS for end in ("", ".json")] + ["../metrics/compare.csv"]
    deps += [f"../src/smallset/{path}" for path in ("pipeline/files.py", *sorted(subpackages(name)))]
    lines = "\n".join(textwrap.wrap(", ".join(deps), 110, initial_indent="      [", subsequent_indent="      "))
    return stage.replace(data[0], f"deps:\n{lines}]")


def subpackages(name: str) -> set[str]:
    """The subpackages of smallset that a stage of a project imports, but for pipeline."""
    start = PACKAGE / f"stages/{name}.py"
    return {path.relative_to(PACKAGE).parts[0] for path in {start, *imported(start)}} - {"pipeline"}


def imported(start: Path) -> set[Path]:
    """The modules of smallset that a module imports, directly or not."""
    modules: set[Path] = set()
    waiting = [start]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "smallset":
                place = ROOT / "src" / (node.module or "").replace(".", "/")
                named = [place / f"{alias.name}.py" for alias in node.names] if place.is_dir() else []
                new = {path for path in named or [place.with_suffix(".py")] if path.is_file()} - modules
                modules |= new
                waiting += new
    return modules


def derived() -> dict[Path, str]:
    """The text of each derived graph."""
    return {ROOT / "sample/dvc.yaml": sample(), ROOT / "beyond-the-book/dvc.yaml": beyond_the_book()}


if __name__ == "__main__":
    for graph, text in derived().items():
        graph.write_text(text, encoding="utf-8")
