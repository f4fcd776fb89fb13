"""What each stage script needs around its main(): its params, one clear error, and the time it took."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from smallset import params
from smallset.errors import SmallsetError


def load_params() -> params.Params:
    """The params that dvc.yaml declares for the stage that DVC is running (its name is in DVC_STAGE)."""
    # subset, evaluate@convnet, or sample/dvc.yaml:subset when DVC runs all pipelines
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")[0]
    if not name:
        raise SmallsetError(f"A stage is run by DVC, which knows its params: dvc repro {Path(sys.argv[0]).stem}")
    declared = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][name].get("params", [])
    return params.read(Path("params.yaml")).only(declared)


def run(main: Callable[[], None]) -> None:
    """Call main(); print how long it took, or the error without its traceback."""
    name = os.environ.get("DVC_STAGE", Path(sys.argv[0]).stem)
    started = time.monotonic()
    try:
        main()
    except (SmallsetError, OSError) as error:
        sys.exit(f"\n{name}: {error}")
    print(f"{name}: {time.monotonic() - started:.0f} s")
