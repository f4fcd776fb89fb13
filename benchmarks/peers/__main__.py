"""python -m benchmarks.peers --photos FOLDER: seconds from 2,000 photos to a model, by smallset and by others.

Install the others with: pip install -c requirements.lock -e ".[peers]". Their networks have random weights, which
cost the same.
"""

import importlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import bases, pictures, rounds, tables
from smallset.pipeline import files

OUTPUT = Path("benchmarks/peers.json")
TRAIN, VALIDATION = 1200, 400  # of 2,000 photos, by smallset's fractions; the others are test photos
PEERS = {
    "torchvision's tutorial, last layer": ("tutorial", "last layer"),
    "torchvision's tutorial, all of ResNet-18": ("tutorial", "all"),
    "fastai's quick start, ResNet-34": ("fastai", "all"),
    "ultralytics classify, YOLO11n": ("ultralytics", "all"),
}
OURS = {"smallset, linear probe": "linear_probe", "smallset, fine-tuned": "fine_tuned"}  # with their evaluation


def main(
    photos: Annotated[Path, typer.Option(help="Class folders with 2,000 photos, as data/subset/train.")],
    count: Annotated[
        int, typer.Option(min=8, help="Training photos on which an epoch of the others is measured.")
    ] = 240,
    repeats: Annotated[int, typer.Option("--rounds", min=1)] = 3,
    output: Annotated[Path, typer.Option(help="JSON; the table is written beside it as .md.")] = Path(
        "benchmarks/peers.json"
    ),
) -> None:
    """Measure all tools in turn, round by round."""
    with tempfile.TemporaryDirectory() as scratch:
        setup = copy_photos(photos, Path(scratch), count)
        results: dict[str, list[rounds.Series]] = {name: [] for name in [*PEERS, *OURS]}
        for number in range(repeats):
            typer.echo(f"round {number + 1} of {repeats}", err=True)
            for name, series in [*measure_peers(setup), *measure_smallset(photos.resolve(), Path(scratch))]:
                results[name].append(series)
    files.write_json(output, {name: [asdict(row) for row in series] for name, series in results.items()})
    files.write_text(output.with_suffix(".md"), report(results) + "\n")
    typer.echo(report(results))


def copy_photos(photos: Path, scratch: Path, count: int) -> rounds.Setup:
    """Copy the photos of both splits on which an epoch is measured."""
    share = count * VALIDATION // TRAIN
    pictures.copy(photos, scratch / "photos/train", count)
    pictures.copy(photos, scratch / "photos/validation", share, skip=count // 2)
    return rounds.Setup(scratch / "photos", scratch, 224, {"train": count, "validation": share})


def measure_peers(setup: rounds.Setup) -> Iterator[tuple[str, rounds.Series]]:
    """Measure one round of each of the others, scaled to all photos and to the epochs that it prescribes."""
    for name, (peer, case) in PEERS.items():
        side = f"peers.{peer}"
        [measured] = rounds.alternate(case, [side], setup, rounds=1).values()
        seconds = tables.scaled(measured, TRAIN * importlib.import_module(f"benchmarks.{side}").EPOCHS)
        yield name, rounds.Series(seconds, TRAIN, 0, measured.peak)


def measure_smallset(photos: Path, scratch: Path) -> Iterator[tuple[str, rounds.Series]]:
    """Measure both models with their evaluations, in a project that `smallset init` creates from all photos."""
    bases.run(scratch, "smallset", "init", "project", "--photos", str(photos))
    started, peak = time.perf_counter(), 0.0
    for name, model in OURS.items():
        peak = max(peak, bases.run(scratch / "project", "dvc", "repro", f"evaluate@{model}"))
        yield name, rounds.Series([time.perf_counter() - started], TRAIN, 0, peak)
    shutil.rmtree(scratch / "project")


def report(results: dict[str, list[rounds.Series]]) -> str:
    """The seconds of each, divided by those of both of smallset's models, and the peak memory of a process."""
    seconds = {name: [row.seconds[0] for row in series] for name, series in results.items()}
    rows = []
    for name, series in results.items():
        ratios = [tables.spread(tables.ratios(seconds[name], seconds[ours])) for ours in OURS]
        rows.append([name, tables.spread(seconds[name], 0), *ratios, f"{max(row.peak for row in series):.2f}"])
    return tables.table(["2,000 photos, two classes", "seconds", *(f"times {name}" for name in OURS), "GiB"], rows)


if __name__ == "__main__":
    typer.run(main)
