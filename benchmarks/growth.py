"""python -m benchmarks.growth [COUNT ...]: seconds and peak memory of the chapter's stages by the number of photos.

Each stage runs unchanged in a process of its own, in a new pipeline folder, with VGG16 with random weights.
"""

import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from benchmarks import pictures, rounds, tables
from smallset.pipeline import files

ROOT = Path(__file__).parents[1]
COUNTS = [1000, 5000, 25000]
STAGES = ("download", "subset", "backbone", "activations", "features")
LIMIT = 2.5  # GiB, of any stage
Measures = dict[str, tuple[float, float]]  # stage: seconds, peak resident GiB


def main(
    counts: Annotated[list[int] | None, typer.Argument(help="Numbers of photos; default: 1000 5000 25000.")] = None,
    photos: Annotated[Path | None, typer.Option(help="Class folders; default: generated pictures.")] = None,
    size: Annotated[int, typer.Option(min=32, help="px")] = 96,
    views: Annotated[int, typer.Option(min=0, help="Augmented views of each training photo.")] = 1,
    output: Annotated[Path, typer.Option(help="JSON; the table is written beside it as .md.")] = Path(
        "benchmarks/growth.json"
    ),
) -> None:
    """Run the stages up to the features on growing numbers of photos, which are copies of the same few."""
    results: dict[int, Measures] = {}
    with tempfile.TemporaryDirectory() as scratch:
        source = photos or pictures.draw(Path(scratch) / "drawn")
        for count in counts or COUNTS:
            folder = Path(scratch) / "pipeline"
            prepare(folder, source, count, size, views)
            results[count] = {stage: measure(folder, stage) for stage in STAGES}
            files.remove(folder)
    text = report(results)
    files.write_json(output, {"size": size, "views": views, "counts": results})
    files.write_text(output.with_suffix(".md"), text + "\n")
    typer.echo(text)


def prepare(folder: Path, source: Path, count: int, size: int, views: int) -> None:
    """Create a pipeline folder whose source has `count` photos, with the book's shares of the splits."""
    pictures.copy(source, folder / "photos", count)
    for name in ("corrections.csv", "dvc.yaml", "stages", "src"):
        (folder / name).symlink_to(ROOT / name)
    yaml = YAML()
    document: dict[str, Any] = yaml.load(ROOT / "params.yaml")
    document["image_size"] = size
    document["download"] |= {"source": "folder", "folder": "photos"}
    document["subset"] |= {"by": "fraction", "train": 0.4, "validation": 0.2, "test": 0.4}
    document["backbone"]["weights"] = None
    document["activations"]["views"] = views
    yaml.dump(document, folder / "params.yaml")


def measure(folder: Path, stage: str) -> tuple[float, float]:
    """Run one stage as DVC does; return its seconds and the peak resident GiB of its process."""
    typer.echo(f"{stage} ...", err=True)
    command = [sys.executable, f"stages/{stage}.py"]
    with (folder / "log").open("w") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | {"DVC_STAGE": stage}, stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{(folder / 'log').read_text()}\n{stage}: failed; its output is above")
    return seconds, rounds.gib(usage)


def report(results: dict[int, Measures]) -> str:
    """Seconds and memory by count; ms per additional photo, which are constant in linear time; and the peak memory."""
    steps = list(pairwise(results))
    columns = [f"{count:,} photos: s, GiB" for count in results]
    additional = [f"ms a photo, {first:,} to {last:,}" for first, last in steps]
    rows = []
    for stage in STAGES:
        cells = ["{:.1f}, {:.2f}".format(*results[count][stage]) for count in results]
        cells += [f"{milliseconds(results, stage, first, last):.1f}" for first, last in steps]
        rows.append([stage, *cells])
    peak = max(gib for measures in results.values() for _, gib in measures.values())
    verdict = f"Peak memory {peak:.2f} GiB, {'within' if peak <= LIMIT else 'over'} the limit of {LIMIT} GiB."
    return f"{tables.table(['stage', *columns, *additional], rows)}\n\n{verdict}"


def milliseconds(results: dict[int, Measures], stage: str, first: int, last: int) -> float:
    """The time per additional photo between two counts."""
    return 1000 * (results[last][stage][0] - results[first][stage][0]) / (last - first)


if __name__ == "__main__":
    typer.run(main)
