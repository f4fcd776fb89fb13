"""python -m benchmarks.start OLD NEW: the first run of two versions of smallset, side by side.

OLD and NEW are `smallset` commands, each of an environment with its version. Each round runs one version after the
other: a new project from photos, its first `dvc repro`, one with nothing to do, and two predictions.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from benchmarks import pictures, rounds, tables
from smallset.pipeline import files, provenance

ABOUT = """\
A project of {count} photos on {threads} threads of a processor with {processor}: median (lowest-highest) of the rounds,
and the peak memory of the largest process."""


def main(
    old: Path,
    new: Path,
    count: Annotated[int, typer.Option(help="Photos.")] = 2000,
    photos: Annotated[Path | None, typer.Option(help="Class folders; default: generated pictures.")] = None,
    number: Annotated[int, typer.Option("--rounds", min=1)] = 1,
    output: Annotated[Path, typer.Option(help="CSV; the table is written beside it as .md.")] = Path(
        "benchmarks/start.csv"
    ),
) -> None:
    """Measure both versions in each round, and print the table of all steps."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pictures.copy((photos or pictures.draw(folder / "drawn")).resolve(), folder / "photos", count)
        for turn in range(number):
            for side, command in (("old", old), ("new", new)):
                steps = measure(command.absolute(), folder / f"{side}{turn}", folder / "photos")
                rows += [{"side": side, "step": step, **values} for step, values in steps.items()]
    table = pd.DataFrame(rows).round(2)
    files.write_csv(output, table)
    text = f"{ABOUT.format(count=count, **provenance.facts())}\n\n{show(table)}"
    files.write_text(output.with_suffix(".md"), text + "\n")
    typer.echo(text)


def measure(smallset: Path, project: Path, photos: Path) -> dict[str, dict[str, float]]:
    """The seconds and the peak GiB of each step in a new project."""
    path = os.pathsep.join([str(smallset.parent), os.environ["PATH"]])
    git = {
        f"GIT_{who}_{what}": "benchmark@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    variables = os.environ | git | {"PATH": path, "SMALLSET_CACHE": f"{project}-cache"}
    photo = min(path for path in photos.rglob("*") if path.is_file())
    results = {"help": run([smallset, "--help"], project.parent, variables)}
    results["init"] = run([smallset, "init", project, "--photos", photos], project.parent, variables)
    started = time.time()
    results["dvc repro"] = run(["dvc", "repro"], project, variables)
    first = min(file.stat().st_mtime for file in project.glob("metrics/linear*.json"))
    results["  first evaluated model"] = {"seconds": first - started}
    results["dvc repro, nothing to do"] = run(["dvc", "repro"], project, variables)
    model = max(project.glob("models/linear*.keras"))
    for step in ("predict, first time", "predict, second time"):
        results[step] = run([smallset, "predict", model, photo], project, variables)
    return results


def run(command: list[str | Path], folder: Path, variables: dict[str, str]) -> dict[str, float]:
    """Run a command; return its seconds, and the peak GiB of the largest of its processes."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as job:
        _, status, usage = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
    if job.returncode:
        raise SystemExit(f"{command}: exit code {job.returncode}. Run it in {folder}")
    return {"seconds": time.perf_counter() - started, "gib": rounds.gib(usage)}


def show(table: pd.DataFrame) -> str:
    """The table for people: a row per step, and for each version its seconds and GiB."""
    rows = []
    for step, measured in table.groupby("step", sort=False):
        sides = [(column, side) for column in ("seconds", "gib") for side in ("old", "new")]
        values = [measured.loc[measured["side"] == side, column].dropna().tolist() for column, side in sides]
        rows.append([str(step).strip(), *(tables.spread(value, 2) if value else "" for value in values)])
    return tables.table(["step", "old, s", "new, s", "old, GiB", "new, GiB"], rows)


if __name__ == "__main__":
    typer.run(main)
