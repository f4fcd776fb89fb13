"""python -m benchmarks.times: how long each stage took in its last run, from data/runs.jsonl, and the sums."""

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks import tables
from smallset.pipeline import files, stage

MODELS, ERROR_BARS = "models", "error bars"
ABOUT = """\
How long each stage took in its last run, on {threads} threads of a processor with {processor}, with TensorFlow
{tensorflow}. Imports and DVC's own work, a few seconds per stage, are not included."""


def main(
    log: Annotated[Path, typer.Option(help="The log of a pipeline.")] = stage.LOG,
    output: Annotated[Path, typer.Option(help="CSV; the table is written beside it as .md.")] = Path(
        "benchmarks/times.csv"
    ),
) -> None:
    """Print how long each stage took in its last run."""
    last = {run["stage"]: run for run in map(json.loads, log.read_text(encoding="utf-8").splitlines())}
    rows = [(name, find_part(name), round(run["seconds"], 1)) for name, run in last.items()]
    table = pd.DataFrame(rows, columns=["stage", "part", "seconds"])
    sums = table.groupby("part", sort=False)["seconds"].sum()
    minutes = [[str(name), f"{seconds / 60:.1f}"] for name, seconds in [*sums.items(), ("all", sums.sum())]]
    files.write_csv(output, table)
    parts = [ABOUT.format(**next(iter(last.values()))), tables.table(["part", "minutes"], minutes)]
    parts.append(tables.table(list(table.columns), table.astype(str).to_numpy().tolist()))
    files.write_text(output.with_suffix(".md"), "\n\n".join(parts) + "\n")
    typer.echo("\n\n".join(parts))


def find_part(name: str) -> str:
    """What a stage is for: the models and their evaluation, or the error bars from other seeds."""
    return ERROR_BARS if name.partition("@")[0] == "seeds" else MODELS


if __name__ == "__main__":
    typer.run(main)
