"""python -m benchmarks.times: what each stage took when it ran last, from data/runs.jsonl, and the sum of each part."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from benchmarks import tables
from smallset.pipeline import files, stage

BOOK, BEYOND, BARS = "the book's models", "beyond the book", "error bars"
ABOUT = """\
What each stage took when it ran last, from its script's first line to its last, on {threads} threads of a processor
with {processor}, with TensorFlow {tensorflow}. Imports and DVC's own work, a few seconds a stage, come on top."""


def main(
    log: Annotated[Path, typer.Option(help="Of the pipeline whose dvc.yaml is here.")] = stage.LOG,
    output: Annotated[Path, typer.Option(help="CSV; the table goes beside it as .md.")] = Path("benchmarks/times.csv"),
) -> None:
    """Tell what each stage took when it ran last."""
    last = {run["stage"]: run for run in map(json.loads, log.read_text(encoding="utf-8").splitlines())}
    rows = [(name, part(name, stage.graph()), round(run["seconds"], 1)) for name, run in last.items()]
    table = pd.DataFrame(rows, columns=["stage", "part", "seconds"])
    sums = table.groupby("part")["seconds"].sum()[[BOOK, BEYOND, BARS]]
    minutes = [[str(name), f"{seconds / 60:.1f}"] for name, seconds in [*sums.items(), ("all", sums.sum())]]
    files.write_csv(output, table)
    parts = [ABOUT.format(**next(iter(last.values()))), tables.table(["part", "minutes"], minutes)]
    parts.append(tables.table(list(table.columns), table.astype(str).to_numpy().tolist()))
    files.write_text(output.with_suffix(".md"), "\n\n".join(parts) + "\n")
    typer.echo("\n\n".join(parts))


def part(name: str, graph: Mapping[str, Any]) -> str:
    """Which of the three a stage is for. A desc of dvc.yaml begins with the section; with 8.3+ beyond the book."""
    kind, _, model = name.partition("@")
    if kind.endswith("_seeds") or kind == "test_features":
        return BARS
    return BEYOND if graph[model or kind]["desc"].startswith("8.3+") else BOOK


if __name__ == "__main__":
    typer.run(main)
