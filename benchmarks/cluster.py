"""python -m benchmarks.cluster: two one-core workers of a Ray cluster against one process of two threads.

Both compute the features of the same photos, as the stage `features` does, in turn. The rate leaves out the start: it
counts from the first eighth of the photos on. A cluster with two free CPUs has to run: ray start --head --num-cpus=2,
or the one that SMALLSET_RAY_ADDRESS names.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from benchmarks import ours, pictures, tables
from smallset.features import embedding
from smallset.pipeline import cluster, files, params

BACKBONE = "EfficientNetLite0"
CLUSTER = cluster.address() or "auto"
WAYS = {"one process": ("", "2"), "cluster": (CLUSTER, "1")}  # the cluster's address, and the threads of a process
SHARD = 64  # photos: small shards, so that their ends show the rate
START = 1 / 8  # of the photos
ABOUT = """\
The features of {count} photos of {size} px by {backbone}: photos/s after the start, median (lowest-highest) of the
rounds. One process of two threads, and a Ray cluster's two workers of one thread each, on the same machine."""


def main(
    count: Annotated[int, typer.Option(min=1024, help="Photos of a run.")] = 4096,
    photos: Annotated[Path | None, typer.Option(help="Class folders; default: generated pictures.")] = None,
    size: Annotated[int, typer.Option(min=32, help="px")] = 224,
    number: Annotated[int, typer.Option("--rounds", min=1)] = 3,
    output: Annotated[Path, typer.Option(help="CSV; the table is written beside it as .md.")] = Path(
        "benchmarks/cluster.csv"
    ),
) -> None:
    """Measure both rates in each round, and print them with their ratio and its range."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pictures.copy((photos or pictures.draw(folder / "drawn")).resolve(), folder / "photos", count)
        for _ in range(number):
            rates = {way: measure(folder, way, size) for way in WAYS}
            rows.append(rates | {"ratio": rates["cluster"] / rates["one process"]})
            typer.echo(rows[-1])
    table = pd.DataFrame(rows)
    files.write_csv(output, table)
    cells = [tables.spread(table[way]) for way in WAYS] + [tables.spread(table["ratio"], 2)]
    about = ABOUT.format(count=count, size=size, backbone=BACKBONE)
    text = f"{about}\n\n{tables.table([*table.columns], [cells])}"
    files.write_text(output.with_suffix(".md"), text + "\n")
    typer.echo(text)


def measure(folder: Path, way: str, size: int) -> float:
    """Embed the photos in a process of its own; return photos per second."""
    address, threads = WAYS[way]
    settings = {cluster.VARIABLE: address, "TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", "benchmarks.cluster", "embed", str(folder), str(size)]
    result = subprocess.run(command, env=os.environ | settings, check=True, stdout=subprocess.PIPE, text=True)
    return float(result.stdout.splitlines()[-1])


def embed(folder: Path, size: int) -> None:
    """In that process: compute the features with random weights, and print photos per second.

    The same picture may have several names, and `embedding` computes equal files once. So each name gets a digest.
    """
    ours.prepare()
    embedding.SHARD = SHARD
    dataset = pictures.read(folder / "photos")
    digests = [f"{row:064x}" for row in range(len(dataset))]
    dataset = replace(dataset, table=dataset.table.assign(split="train", sha256=digests))
    p = params.FeatureExtraction(backbone=BACKBONE, weights=None, image_sizes=[size])
    with tempfile.TemporaryDirectory(dir=folder) as drafts:
        embedding.search_and_embed(dataset, p, "none", None, Path(drafts))
        print(rate([path.stat().st_mtime for path in Path(drafts).glob("*.npz")], len(dataset)))


def rate(ends: Sequence[float], count: int) -> float:
    """Photos per second after the start. ends: when each shard of the `count` photos was complete, s."""
    seconds = np.sort(ends)
    first = int(np.ceil(START * len(seconds)))
    return float((count - first * SHARD) / (seconds[-1] - seconds[first - 1]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["embed"]:
        embed(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        typer.run(main)
