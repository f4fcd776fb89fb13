"""The arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from smallset.cli import console
from smallset.pipeline import dvc_lock, text


def check_model(path: Path) -> Path:
    """Refuse a model file that does not exist, and say who writes it; warn about the model of another commit."""
    if not path.is_file():
        raise typer.BadParameter(
            f"File '{text.visible(str(path))}' does not exist. Run dvc repro in the project's folder to train it."
        )
    console.print_notes(dvc_lock.describe_other([path]))
    return path


def check_folder(name: str) -> str:
    """Refuse a local folder that does not exist; a URL is checked when it is read."""
    if "://" not in name and not Path(name).is_dir():
        problem = "is a file" if Path(name).exists() else "does not exist"
        raise typer.BadParameter(f"Directory '{text.visible(name)}' {problem}.")
    return name


Model = Annotated[Path, typer.Argument(metavar="MODEL", callback=check_model, help="A .keras file in models/.")]
Photos = Annotated[
    list[str],
    typer.Argument(metavar="PHOTO|FOLDER|-...", help="Photos, folders, or - to read paths from stdin, one per line."),
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Searched recursively.")]
LabeledFolder = Annotated[
    str,
    typer.Argument(metavar="FOLDER|URL", callback=check_folder, help="It must contain one folder of photos per class."),
]
Format = Annotated[
    Literal["table", "csv", "jsonl"] | None,
    typer.Option("--format", help="Default: a table on a terminal, CSV elsewhere.", show_default=False),
]
Top = Annotated[int, typer.Option(min=1, metavar="N", help="How many labels to print per photo, most probable first.")]
Coverage = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="0..1",
        help="Also print a prediction set: labels that include the true one with this probability, such as 0.95.",
    ),
]
OodRate = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="0..1",
        help="Share of photos that do show one of the classes but may be flagged as unknown. Default: 0.01.",
    ),
]
FailOnDrift = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="P",
        help="Exit with code 3 if the photos differ with a p-value below this, such as 0.01.",
    ),
]
ShardFolder = Annotated[
    str | None,
    typer.Option("--output", metavar="FOLDER|URL", help="Write Parquet files there (a folder, s3://, gs://, ...)."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="With --output: compute on this Ray cluster. Default: the variable SMALLSET_RAY_ADDRESS.",
    ),
]
BatchSize = Annotated[
    int, typer.Option(min=1, metavar="N", help="Photos at a time: affects speed and memory, not the results.")
]
