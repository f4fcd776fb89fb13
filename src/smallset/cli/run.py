"""`smallset run`: run one stage of a project."""

import pkgutil
from pathlib import Path
from typing import Annotated

import typer

from smallset import stages
from smallset.pipeline import params, stage
from smallset.pipeline.errors import SmallsetError

Stage = Annotated[str, typer.Argument(metavar="STAGE", help="The name of a stage in dvc.yaml.")]
Arguments = Annotated[
    list[str] | None, typer.Argument(metavar="ARGUMENT...", help="For the stage evaluate: the name of a model.")
]


def run(name: Stage, arguments: Arguments = None) -> None:
    """Run one stage of a project. DVC calls this command; to run the stages that a change affects, use dvc repro.

    Exit code: 0 success, 1 an error of the stage, 2 a wrong stage or folder.
    """
    names = [module.name for module in pkgutil.iter_modules(stages.__path__) if not module.name.startswith("_")]
    if name not in names:
        raise SmallsetError(f"{name}: unknown stage. Expected: {', '.join(names)}.{params.suggest(name, names)}")
    if missing := [file for file in ("dvc.yaml", "params.yaml") if not Path(file).is_file()]:
        problem = f"expected a project, found no {' and no '.join(missing)}"
        raise SmallsetError(f"{Path.cwd()}: {problem}. Change to the folder of one, or create it: smallset init")
    stage.run_module(name, *(arguments or []))
