"""python -m benchmarks.bases --data FOLDER: which base is best on several sets of photos, and what it costs.

Each set with each base is a project as `smallset init` makes it, run by DVC: what a user would get.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from ruamel.yaml import YAML

from benchmarks import rounds, tables
from smallset.evaluation import significance
from smallset.pipeline import files, provenance

COLUMNS = ["set", "base", "model", "side", "depth", "accuracy", "low", "high", "loss", "val_loss", "seconds"]
BASES = "EfficientNetLite0,EfficientNetLite1,EfficientNetLite2,VGG16"
WAY = {"linear": ["side", "larger", "linear"], "pooled": ["pooled"]}  # stages that lead to a model
ABOUT = """\
Each row is a project that `smallset init` made of a set of photos, with another base: side and depth are what
validation chose, `val_loss` what the choice of a base hangs on. Accuracy (with its 95 % interval) and loss are of the
test photos. `seconds`: of the stages that lead to the model, after the splits, on {threads}
threads of a processor with {processor}."""


def main(
    data: Annotated[Path, typer.Option(help="A folder with one of photos for each set, as `smallset init` takes it.")],
    bases: Annotated[str, typer.Option(help="Names, with commas.")] = BASES,
    tuned: Annotated[str, typer.Option(help="Those of which `pooled` is trained, too.")] = "EfficientNetLite0",
    output: Annotated[Path, typer.Option(help="CSV; the table goes beside it as .md.")] = Path("benchmarks/bases.csv"),
) -> None:
    """Measure each base on each set; what the output has already is not measured again."""
    table = pd.read_csv(output) if output.exists() else pd.DataFrame(columns=COLUMNS)
    for photos in sorted(path for path in data.iterdir() if path.is_dir()):
        for base in bases.split(","):
            own = (table["set"] == photos.name) & (table["base"] == base)
            models = ["linear", "pooled"] if base in tuned.split(",") else ["linear"]
            if {*models} <= {*table["model"][own]}:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                rows = measured(photos.resolve(), base, models, Path(scratch))
            table = pd.DataFrame([*table[~own].to_dict("records"), *rows], columns=COLUMNS)
            files.write_csv(output, table.sort_values(["set", "base", "model"], kind="stable"))
    files.write_text(output.with_suffix(".md"), report(pd.read_csv(output)))


def measured(photos: Path, base: str, models: list[str], scratch: Path) -> list[dict[str, object]]:
    """What the models of a project with that base give: a row for each."""
    run(scratch, "smallset", "init", "project", "--photos", str(photos))
    project = scratch / "project"
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    params["base"]["name"] = base
    yaml.dump(params, project / "params.yaml")
    run(project, "dvc", "repro", *(f"evaluate@{model}" for model in models))
    return [row(project, model) | {"set": photos.name, "base": base} for model in models]


def run(folder: Path, *command: str) -> float:
    """Run a command of this environment to its end; its words go to stderr. Peak GiB of the largest process in it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PATH": path}, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return rounds.gib(usage)


def row(project: Path, model: str) -> dict[str, object]:
    """One model's measures, choices and time."""
    metrics = project / "metrics"
    found = json.loads((metrics / f"{model}.json").read_text())
    low, high = significance.interval(found["accuracy"], found["n"])
    side = pd.read_csv(metrics / "side/choice.csv").query("chosen").side.iloc[0]
    depth = pd.read_csv(metrics / "pooled/choice.csv").query("chosen").depth.iloc[0] if model == "pooled" else "frozen"
    times = pd.read_json(project / "data/runs.jsonl", lines=True).groupby("stage").seconds.sum()
    known = {"side": side, "depth": depth, "low": low, "high": high, "val_loss": found["val_loss"]}
    seconds = round(float(times.reindex(WAY[model]).sum()))
    return known | {"model": model, "accuracy": found["accuracy"], "loss": found["loss"], "seconds": seconds}


def report(table: pd.DataFrame) -> str:
    """The table in Markdown, and for whom its times are."""
    accuracy = [f"{one.accuracy:.3f} ({one.low:.3f}-{one.high:.3f})" for one in table.itertuples()]
    losses = {name: table[name].map("{:.3f}".format) for name in ("loss", "val_loss")}
    shown = table.assign(accuracy=accuracy, **losses).drop(columns=["low", "high"]).astype(str)
    text = tables.table(list(shown.columns), shown.to_numpy().tolist())
    return f"{ABOUT.format_map(provenance.facts())}\n\n{text}\n"


if __name__ == "__main__":
    typer.run(main)
