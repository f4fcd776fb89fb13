"""python -m benchmarks.cluster: two one-core workers of a Ray cluster against one process of two threads.

Each round runs a base over COUNT and over twice as many photos, both ways; the difference of two times is what COUNT
photos cost beyond the start. Needs a cluster with two free CPUs: ray start --head --num-cpus=2, or SMALLSET_RAY.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import ours, pictures, rounds
from smallset.frozen import extraction
from smallset.pipeline import cluster

WAYS = {"one process": ("", "2"), "cluster": (cluster.address() or "auto", "1")}  # the cluster, threads a process


def main(
    count: Annotated[int, typer.Option(min=128, help="Photos of the smaller run.")] = 512,
    photos: Annotated[Path | None, typer.Option(help="Class folders; default: drawn pictures.")] = None,
    size: Annotated[int, typer.Option(min=32, help="px")] = 180,
    number: Annotated[int, typer.Option("--rounds", min=1)] = 3,
) -> None:
    """Print the ratio of the two rates, and its range over the rounds."""
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = photos or pictures.draw(folder / "drawn")
        for several in (count, 2 * count):
            pictures.link(source.resolve(), folder / f"photos-{several}/train", several)
        for _ in range(number):
            seconds = {way: marginal(folder, way, count, size) for way in WAYS}
            ratios.append(seconds["one process"] / seconds["cluster"])
            rates = ", ".join(f"{way} {count / taken:.1f} photos/s" for way, taken in seconds.items())
            typer.echo(f"{rates}, ratio {ratios[-1]:.3f}")
    typer.echo(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")


def marginal(folder: Path, way: str, count: int, size: int) -> float:
    """Seconds that `count` photos take beyond the fixed cost."""
    return timed(folder, way, 2 * count, size) - timed(folder, way, count, size)


def timed(folder: Path, way: str, count: int, size: int) -> float:
    """Seconds of a process that extracts the features of so many photos."""
    address, threads = WAYS[way]
    known = {cluster.VARIABLE: address, "TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.cluster", "extract", str(folder), str(count), str(size)]
    subprocess.run(command, env=os.environ | known, check=True)
    return time.perf_counter() - started


def extract(folder: Path, count: int, size: int) -> None:
    """In that process: VGG16's trunk over the photos."""
    ours.prepare()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        setup = rounds.Setup(folder / f"photos-{count}", Path(scratch), size, {})
        wanted = {setup.scratch / "train.npy": extraction.PLAIN}
        extraction.from_photos(ours.parts(setup)[0], ours.photos(setup, "train"), wanted, ours.new_backup(setup))


if __name__ == "__main__":
    if sys.argv[1:2] == ["extract"]:
        extract(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        typer.run(main)
