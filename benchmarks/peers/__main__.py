"""python -m benchmarks.peers --photos FOLDER: seconds from 2,000 photos to a model, by smallset and by others.

pip install -c requirements.lock -e ".[peers]". Their networks have random weights, which cost the same.
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
TRAIN, VALIDATION = 1200, 400  # of 2,000 photos, by smallset's shares; the rest is for the test
PEERS = {
    "torchvision's tutorial, last layer": ("tutorial", "last layer"),
    "torchvision's tutorial, all of ResNet-18": ("tutorial", "all"),
    "fastai's quick start, ResNet-34": ("fastai", "all"),
    "ultralytics classify, YOLO11n": ("ultralytics", "all"),
}
OURS = {"smallset, linear": "linear", "smallset, fine-tuned": "pooled"}  # with its evaluation on the test photos


def main(
    photos: Annotated[Path, typer.Option(help="Class folders with 2,000 photos, as data/subset/train.")],
    count: Annotated[
        int, typer.Option(min=8, help="Training photos that an epoch of the others is measured on.")
    ] = 240,
    repeats: Annotated[int, typer.Option("--rounds", min=1)] = 3,
    output: Annotated[Path, typer.Option(help="JSON; the table goes beside it as .md.")] = Path(
        "benchmarks/peers.json"
    ),
) -> None:
    """Measure each in turn, round by round."""
    with tempfile.TemporaryDirectory() as scratch:
        setup = copied(photos, Path(scratch), count)
        found: dict[str, list[rounds.Series]] = {name: [] for name in [*PEERS, *OURS]}
        for number in range(repeats):
            typer.echo(f"round {number + 1} of {repeats}", err=True)
            for name, series in [*others(setup), *projects(photos.resolve(), Path(scratch))]:
                found[name].append(series)
    files.write_json(output, {name: [asdict(one) for one in series] for name, series in found.items()})
    files.write_text(output.with_suffix(".md"), report(found) + "\n")
    typer.echo(report(found))


def copied(photos: Path, scratch: Path, count: int) -> rounds.Setup:
    """The photos of both splits that an epoch is measured on."""
    share = count * VALIDATION // TRAIN
    pictures.copy(photos, scratch / "photos/train", count)
    pictures.copy(photos, scratch / "photos/validation", share, skip=count // 2)
    return rounds.Setup(scratch / "photos", scratch, 224, {"train": count, "validation": share})


def others(setup: rounds.Setup) -> Iterator[tuple[str, rounds.Series]]:
    """One round of each of the others, scaled to all photos and to the epochs that it prescribes."""
    for name, (peer, case) in PEERS.items():
        side = f"peers.{peer}"
        [measured] = rounds.alternate(case, [side], setup, rounds=1).values()
        seconds = tables.scaled(measured, TRAIN * importlib.import_module(f"benchmarks.{side}").EPOCHS)
        yield name, rounds.Series(seconds, TRAIN, 0, measured.peak)


def projects(photos: Path, scratch: Path) -> Iterator[tuple[str, rounds.Series]]:
    """smallset's two models with their evaluations, from a project that `smallset init` has made of all photos."""
    bases.run(scratch, "smallset", "init", "project", "--photos", str(photos))
    started, peak = time.perf_counter(), 0.0
    for name, model in OURS.items():
        peak = max(peak, bases.run(scratch / "project", "dvc", "repro", f"evaluate@{model}"))
        yield name, rounds.Series([time.perf_counter() - started], TRAIN, 0, peak)
    shutil.rmtree(scratch / "project")


def report(found: dict[str, list[rounds.Series]]) -> str:
    """Seconds of each, how many times those of smallset's two models, and the peak memory of a process."""
    seconds = {name: [one.seconds[0] for one in series] for name, series in found.items()}
    rows = []
    for name, series in found.items():
        ratios = [tables.spread(tables.ratios(seconds[name], seconds[ours])) for ours in OURS]
        rows.append([name, tables.spread(seconds[name], 0), *ratios, f"{max(one.peak for one in series):.2f}"])
    return tables.table(["2,000 photos, two classes", "seconds", *(f"times {name}" for name in OURS), "GiB"], rows)


if __name__ == "__main__":
    typer.run(main)
