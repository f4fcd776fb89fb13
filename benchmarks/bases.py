"""python -m benchmarks.bases --data FOLDER: which backbone is best on several sets of photos, and what it costs.

For each set and each backbone, `smallset init` creates a project and DVC runs it, as a user would.
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
from smallset.evaluation.significance import wilson_interval
from smallset.pipeline import files, provenance

COLUMNS = [
    "set",
    "backbone",
    "model",
    "image_size",
    "trainable",
    "accuracy",
    "low",
    "high",
    "loss",
    "val_loss",
    "seconds",
]
BACKBONES = "EfficientNetLite0,EfficientNetLite1,EfficientNetLite2,VGG16"
STAGES = {"linear_probe": ["features", "linear_probe"], "fine_tuned": ["fine_tune"]}  # the stages that train a model
ABOUT = """\
Each row is a project that `smallset init` created from a set of photos, with another backbone. Validation selected
image_size and trainable; compare backbones by `val_loss`. Accuracy (with its 95 % interval) and loss are of the test
photos. `seconds` are those of the stages that train the model, on {threads} threads of a processor with {processor}."""


def main(
    data: Annotated[Path, typer.Option(help="A folder with one folder of photos per set, as for `smallset init`.")],
    backbones: Annotated[str, typer.Option(help="Names, separated by commas.")] = BACKBONES,
    fine_tuned: Annotated[str, typer.Option(help="The backbones that are also fine-tuned.")] = "EfficientNetLite0",
    output: Annotated[Path, typer.Option(help="CSV; the table is written beside it as .md.")] = Path(
        "benchmarks/bases.csv"
    ),
) -> None:
    """Measure each backbone on each set. Rows that the output already contains are not measured again."""
    table = read(output)
    for photos in sorted(path for path in data.iterdir() if path.is_dir()):
        for backbone in backbones.split(","):
            measured = (table["set"] == photos.name) & (table["backbone"] == backbone)
            models = ["linear_probe", "fine_tuned"] if backbone in fine_tuned.split(",") else ["linear_probe"]
            if {*models} <= {*table["model"][measured]}:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                rows = measure(photos.resolve(), backbone, models, Path(scratch))
            table = pd.DataFrame([*table[~measured].to_dict("records"), *rows], columns=COLUMNS)
            files.write_csv(output, table.sort_values(["set", "backbone", "model"], kind="stable"))
    files.write_text(output.with_suffix(".md"), report(read(output)))


def read(output: Path) -> pd.DataFrame:
    """Read the rows that were measured before. The program ends if the file has other columns, as in 0.2.0."""
    table = pd.read_csv(output) if output.exists() else pd.DataFrame(columns=COLUMNS)
    if list(table.columns) != COLUMNS:
        raise SystemExit(f"{output}: expected the columns {', '.join(COLUMNS)}. Remove the file, or set --output.")
    return table


def measure(photos: Path, backbone: str, models: list[str], scratch: Path) -> list[dict[str, object]]:
    """Run a project with the backbone, and return one row per model."""
    run(scratch, "smallset", "init", "project", "--photos", str(photos))
    project = scratch / "project"
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    params["features"]["backbone"] = backbone
    yaml.dump(params, project / "params.yaml")
    run(project, "dvc", "repro", *(f"evaluate@{model}" for model in models))
    return [read_row(project, model) | {"set": photos.name, "backbone": backbone} for model in models]


def run(folder: Path, *command: str) -> float:
    """Run a command of this environment with its output on stderr; return the peak GiB of its largest process."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PATH": path}, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return rounds.gib(usage)


def read_row(project: Path, model: str) -> dict[str, object]:
    """The metrics of one model, what validation selected for it, and its time."""
    metrics = project / "metrics"
    values = json.loads((metrics / f"{model}.json").read_text())
    low, high = wilson_interval(values["accuracy"], values["n"])
    seconds = pd.read_json(project / "data/runs.jsonl", lines=True).groupby("stage").seconds.sum()
    return {
        "model": model,
        "image_size": read_selected(metrics / "features/search.csv", "image_size"),
        "trainable": "frozen"
        if model == "linear_probe"
        else read_selected(metrics / f"{model}/search.csv", "trainable"),
        **{name: values[name] for name in ("accuracy", "loss", "val_loss")},
        "low": low,
        "high": high,
        "seconds": round(float(seconds.reindex(STAGES[model]).sum())),
    }


def read_selected(search: Path, column: str) -> object:
    """The value of a column in the row of a search.csv that validation selected."""
    table = pd.read_csv(search)
    return table.loc[table["selected"], column].iloc[0]


def report(table: pd.DataFrame) -> str:
    """The table in Markdown, and the machine on which its times were measured."""
    accuracy = [f"{row.accuracy:.3f} ({row.low:.3f}-{row.high:.3f})" for row in table.itertuples()]
    losses = {name: table[name].map("{:.3f}".format) for name in ("loss", "val_loss")}
    shown = table.assign(accuracy=accuracy, **losses).drop(columns=["low", "high"]).astype(str)
    text = tables.table(list(shown.columns), shown.to_numpy().tolist())
    return f"{ABOUT.format_map(provenance.facts())}\n\n{text}\n"


if __name__ == "__main__":
    typer.run(main)
