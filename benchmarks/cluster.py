"""python -m benchmarks.cluster: two one-core workers of a Ray cluster against one process of two threads.

Both ways run VGG16's trunk over the same photos, in turn. What a rate leaves out is the start: it counts from the first
eighth of the photos on. Needs a cluster with two free CPUs: ray start --head --num-cpus=2, or SMALLSET_RAY.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from benchmarks import ours, pictures, rounds, tables
from smallset.features import caches, extraction
from smallset.models import engine
from smallset.pipeline import cluster, files

WAYS = {"one process": ("", "2"), "cluster": (cluster.address() or "auto", "1")}  # the cluster, threads a process
START = 1 / 8  # of the photos
ABOUT = """\
VGG16's trunk over {count} photos of {size} px, photos/s after the start, median (lowest-highest) of the rounds: one
process of two threads, and a Ray cluster's two workers of one thread each on the same machine."""


def main(
    count: Annotated[int, typer.Option(min=1024, help="Photos of a run.")] = 4096,
    photos: Annotated[Path | None, typer.Option(help="Class folders; default: drawn pictures.")] = None,
    size: Annotated[int, typer.Option(min=32, help="px")] = 180,
    number: Annotated[int, typer.Option("--rounds", min=1)] = 3,
    output: Annotated[Path, typer.Option(help="CSV; the table goes beside it as .md.")] = Path(
        "benchmarks/cluster.csv"
    ),
) -> None:
    """Measure both rates in each round, and their ratio, which is printed with its range."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pictures.copy((photos or pictures.draw(folder / "drawn")).resolve(), folder / "photos/train", count)
        for _ in range(number):
            rates = {way: rate(folder, way, size) for way in WAYS}
            rows.append(rates | {"ratio": rates["cluster"] / rates["one process"]})
            typer.echo(rows[-1])
    table = pd.DataFrame(rows)
    files.write_csv(output, table)
    cells = [tables.spread(table[way]) for way in WAYS] + [tables.spread(table["ratio"], 2)]
    text = f"{ABOUT.format(count=count, size=size)}\n\n{tables.table([*table.columns], [cells])}"
    files.write_text(output.with_suffix(".md"), text + "\n")
    typer.echo(text)


def rate(folder: Path, way: str, size: int) -> float:
    """Photos a second of a process that extracts their features."""
    address, threads = WAYS[way]
    known = {cluster.VARIABLE: address, "TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", "benchmarks.cluster", "extract", str(folder), str(size)]
    done = subprocess.run(command, env=os.environ | known, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def extract(folder: Path, size: int) -> None:
    """In that process: VGG16's trunk over the photos, as in the stage activations without views; prints the rate."""
    ours.prepare()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        setup = rounds.Setup(folder / "photos", Path(scratch), size, {})
        trunk, found, checkpoint = ours.parts(setup)[0], ours.photos(setup, "train"), ours.new_backup(setup)
        views, outputs = extraction.PLAIN, [caches.create(setup.scratch / "train.npy", found, trunk.output_shape[1:])]
        if cluster.address():
            print(steady(extraction.gathered(trunk, found, 0, views, outputs, checkpoint, "train")))
        else:
            print(steady(extraction.extract(engine.compiled(trunk), found, 0, views, outputs, size)))


def steady(done: Iterable[int]) -> float:
    """Rows a second after the start. done: the rows so far, each time that there are more."""
    rows, seconds = np.array([(rows, time.perf_counter()) for rows in done]).T
    first = int(np.argmax(rows >= START * rows[-1]))
    return float((rows[-1] - rows[first]) / (seconds[-1] - seconds[first]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["extract"]:
        extract(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        typer.run(main)
