"""python -m benchmarks [--photos FOLDER]: time and memory of the book's code and of smallset, and their ratios."""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import pictures, rounds, tables
from smallset.pipeline import files, params

ONE_SIDED = {"bank": ["ours"]}  # the book has no such step
PARAMS = params.read(Path(__file__).parents[1] / "params.yaml")


def main(
    photos: Annotated[
        Path | None, typer.Option(help="Two class folders, as data/subset/train; default: generated.")
    ] = None,
    size: Annotated[int, typer.Option(min=78, help="px")] = PARAMS.image_size,
    count: Annotated[int, typer.Option(min=8, help="Training photos; half as many for validation.")] = 128,
    repeats: Annotated[int, typer.Option("--rounds", min=1, help="Measurements of each side, in turn.")] = 5,
    output: Annotated[Path, typer.Option(help="JSON; the tables are written beside it as .md.")] = Path(
        "benchmarks/results.json"
    ),
) -> None:
    """Measure the book's code and smallset side by side on the same photos."""
    with tempfile.TemporaryDirectory() as scratch:
        setup = prepare(photos, Path(scratch), size, count)
        results = {}
        for case in ("product", *tables.WORDS):
            typer.echo(f"{case} ...", err=True)
            results[case] = rounds.alternate(case, ONE_SIDED.get(case, rounds.SIDES), setup, repeats)
    series = {case: {side: dataclasses.asdict(rows) for side, rows in sides.items()} for case, sides in results.items()}
    about = {"cores": os.cpu_count(), "size": size, "count": count, "photos": "given" if photos else "drawn"}
    text = "\n\n".join(report(results))
    files.write_json(output, about | {"cases": series})
    files.write_text(output.with_suffix(".md"), text + "\n")
    typer.echo(text)


def prepare(folder: Path | None, scratch: Path, size: int, count: int) -> rounds.Setup:
    """Copy the photos of both splits to `scratch`, which is also the folder to write to."""
    folder = folder or pictures.draw(scratch / "drawn")
    pictures.copy(folder, scratch / "photos/train", count)
    pictures.copy(folder, scratch / "photos/validation", count // 2, skip=count // 2)
    rows = {"train": 2 * PARAMS.subset.train, "validation": 2 * PARAMS.subset.validation}
    return rounds.Setup(scratch / "photos", scratch, size, rows)


def report(results: tables.Results) -> list[str]:
    """Three tables: rates, cases, the whole chapter. Cells: median (lowest-highest) of the rounds."""
    return [tables.rates(results), tables.cases(results, 2 * PARAMS.subset.train), tables.chapter(results, PARAMS)]


if __name__ == "__main__":
    typer.run(main)
